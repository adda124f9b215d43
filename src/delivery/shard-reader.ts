import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { StoredEvent } from '../tasks/stored-event.js';
import { decodeEvent, taskIdOf } from './event-codec.js';
import type { LiveLogFollower } from './live-log.js';
import type { RedisUse } from './redis-connection.js';
import { isBefore, SHARD_KEYS } from './redis-shards.js';

/** Entries of each shard in one reply. */
const READ_ENTRIES = 250;
/** A read that finds nothing is answered after so long, so that a connection without answers is known to be dead. */
const BLOCK_MS = 1_000;
const REPLY_TIMEOUT_MS = 2 * BLOCK_MS;
/** How often the ends of the shards are looked at, in case they began anew with lesser ids (FLUSHALL, and a clock that is behind). */
const LOOK_MS = 2_000;
/**
 * After a reply without news, which is what this replica published itself, or what nobody follows here: to read each event of a busy
 * writer back by itself costs a tenth of its way to its readers. By so much may an event of another replica be later.
 */
const ECHO_PAUSE_MS = 2;
const BEFORE_THE_FIRST = '0-0';

type Reply = readonly [key: Buffer, entries: readonly [id: Buffer, [head: Buffer, payload: Buffer]][]][];

/** Follows all shards with one blocking read, which is why it needs a connection of its own. Begins at their ends. */
export class ShardReader implements RedisUse {
  readonly role = 'follow';
  readonly replyTimeoutMs = REPLY_TIMEOUT_MS;
  /** The last id seen of each shard; kept over reconnections, so that nothing is missed that Redis still has. */
  readonly #positions = new Map<string, string>();

  constructor(private readonly follower: LiveLogFollower) {}

  async run(redis: Redis, works: () => void): Promise<void> {
    for (;;) {
      await this.checkEnds(redis);
      works();
      const lookAt = performance.now() + LOOK_MS;
      while (performance.now() < lookAt) {
        const isNews = this.take(await this.read(redis));
        if (!isNews) await delay(ECHO_PAUSE_MS);
      }
    }
  }

  private async read(redis: Redis): Promise<Reply> {
    const positions = SHARD_KEYS.map((key) => this.#positions.get(key) ?? BEFORE_THE_FIRST);
    const options = ['COUNT', READ_ENTRIES, 'BLOCK', BLOCK_MS, 'STREAMS'];
    return ((await redis.callBuffer('XREAD', ...options, ...SHARD_KEYS, ...positions)) as Reply | null) ?? [];
  }

  private take(reply: Reply): boolean {
    const events: StoredEvent[] = [];
    for (const [key, entries] of reply) {
      for (const [, [head, payload]] of entries) {
        const event = this.follower.follows(taskIdOf(head)) ? decodeEvent(head, payload) : undefined;
        if (event) events.push(event);
      }
      this.#positions.set(key.toString(), entries.at(-1)?.[0].toString() ?? BEFORE_THE_FIRST);
    }
    return events.length > 0 && this.follower.receive(events);
  }

  /** A shard that ends before the last id seen is another one than it was: all of it is new. */
  private async checkEnds(redis: Redis): Promise<void> {
    const pipeline = redis.pipeline();
    for (const key of SHARD_KEYS) pipeline.xrevrange(key, '+', '-', 'COUNT', 1);
    const replies = (await pipeline.exec()) ?? [];
    for (const [index, [error, entries]] of replies.entries()) {
      if (error) throw error;
      const key = SHARD_KEYS[index] as string;
      const end = (entries as [id: string][])[0]?.[0] ?? BEFORE_THE_FIRST;
      const position = this.#positions.get(key);
      if (position === undefined) this.#positions.set(key, end);
      else if (isBefore(end, position)) this.#positions.set(key, BEFORE_THE_FIRST);
    }
  }
}
