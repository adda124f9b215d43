import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { unpacked } from './event-pack.js';
import type { LiveLogFollower } from './live-log.js';
import type { RedisUse } from './redis-connection.js';
import { isBefore, STREAM_KEY } from './redis-stream.js';

/** Entries of one reply. */
const READ_ENTRIES = 500;
/** A read that finds nothing is answered after so long, so that a connection without answers is known to be dead. */
const BLOCK_MS = 1_000;
const REPLY_TIMEOUT_MS = 2 * BLOCK_MS;
/** How often the end of the stream is looked at, in case it began anew with lesser ids (FLUSHALL, and a clock that is behind). */
const LOOK_MS = 2_000;
/**
 * After a reply without news, which is what this replica published itself, or what nobody follows here: to read each event of a busy
 * writer back by itself costs a tenth of its way to its readers. By so much may an event of another replica be later.
 */
const ECHO_PAUSE_MS = 2;
const BEFORE_THE_FIRST = '0-0';

type Reply = readonly [key: Buffer, entries: readonly [id: Buffer, [origin: Buffer, pack: Buffer]][]][];

/** Follows the stream with a blocking read, which is why it needs a connection of its own. Begins at the stream's end. */
export class RedisReader implements RedisUse {
  readonly role = 'follow';
  readonly replyTimeoutMs = REPLY_TIMEOUT_MS;
  readonly #own: Buffer;
  /** The last id seen; kept over reconnections, so that nothing is missed that Redis still has. */
  #position: string | undefined;

  /** @param origin of entries that need not be read, as the followers here have their events */
  constructor(
    origin: string,
    private readonly follower: LiveLogFollower,
  ) {
    this.#own = Buffer.from(origin);
  }

  async run(redis: Redis, works: () => void): Promise<void> {
    for (;;) {
      let position = await this.begin(redis);
      works();
      const lookAt = performance.now() + LOOK_MS;
      while (performance.now() < lookAt) {
        const args = ['COUNT', READ_ENTRIES, 'BLOCK', BLOCK_MS, 'STREAMS', STREAM_KEY, position];
        const [[, entries] = [undefined, []]] = ((await redis.callBuffer('XREAD', ...args)) as Reply | null) ?? [];
        const isNews = this.take(entries);
        this.#position = position = entries.at(-1)?.[0].toString() ?? position;
        if (!isNews) await delay(ECHO_PAUSE_MS);
      }
    }
  }

  private take(entries: Reply[number][1]): boolean {
    const follows = (taskId: string) => this.follower.follows(taskId);
    const events = entries.flatMap(([, [origin, pack]]) => (origin.equals(this.#own) ? [] : unpacked(pack, follows)));
    return events.length > 0 && this.follower.receive(events);
  }

  /** A stream that ends before the last id seen is another one than it was: all of it is new. */
  private async begin(redis: Redis): Promise<string> {
    const [last] = await redis.xrevrange(STREAM_KEY, '+', '-', 'COUNT', 1);
    const end = last?.[0] ?? BEFORE_THE_FIRST;
    this.#position ??= end;
    if (isBefore(end, this.#position)) this.#position = BEFORE_THE_FIRST;
    return this.#position;
  }
}
