import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { unpacked } from './event-pack.js';
import type { Followers } from './followers.js';
import { GAP, hintsIn } from './hint-pack.js';
import type { RedisUse } from './redis-connection.js';
import { isBefore, STREAM_KEY } from './redis-stream.js';

/** Entries of one reply. */
const READ_ENTRIES = 500;
/** How long Redis may block a read without news. So a connection without any answer is dead. */
const BLOCK_MS = 1_000;
const REPLY_TIMEOUT_MS = 2 * BLOCK_MS;
/**
 * How often the reader checks the end of the stream. After FLUSHALL, with a clock that is behind, the stream begins again with
 * lower ids.
 */
const LOOK_MS = 2_000;
/**
 * The pause after a reply without news, that is with this replica's own events, or events that no client follows here. To read
 * each event of a busy writer by itself costs a tenth of its way to its readers. An event of another replica may be later by this
 * time.
 */
const ECHO_PAUSE_MS = 2;
const BEFORE_THE_FIRST = '0-0';

type Reply = readonly [key: Buffer, entries: readonly [id: Buffer, [origin: Buffer, pack: Buffer]][]][];

/** Follows the stream with a blocking read, which is why it needs a connection of its own. Begins at the stream's end. */
export class RedisReader implements RedisUse {
  readonly role = 'follow';
  readonly replyTimeoutMs = REPLY_TIMEOUT_MS;
  readonly #own: Buffer;
  /** The last id seen; kept over reconnections, so the reader misses nothing that Redis still has. */
  #position: string | undefined;
  #isReading = false;
  #begun = Promise.withResolvers<void>();

  /** @param origin of entries to skip, because the followers here have what is in them */
  constructor(
    origin: string,
    private readonly followers: Followers,
  ) {
    this.#own = Buffer.from(origin);
  }

  /** Whether each entry that is added from now on will arrive here, as far as is known. */
  get isReading(): boolean {
    return this.#isReading;
  }

  /** Resolves when it next begins to read. */
  begun(): Promise<void> {
    return this.#begun.promise;
  }

  async run(redis: Redis, works: () => void): Promise<void> {
    try {
      await this.read(redis, works);
    } finally {
      this.#isReading = false;
    }
  }

  private async read(redis: Redis, works: () => void): Promise<void> {
    for (;;) {
      let position = await this.begin(redis);
      works();
      if (!this.#isReading) this.begins();
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

  /** Redis may have dropped entries since it last read, or another server may have taken its place. */
  private begins(): void {
    this.#isReading = true;
    this.#begun.resolve();
    this.#begun = Promise.withResolvers();
    this.followers.missed();
  }

  private take(entries: Reply[number][1]): boolean {
    const follows = (taskId: string) => this.followers.follows(taskId);
    const packs = entries.flatMap(([, [origin, pack]]) => (origin.equals(this.#own) ? [] : [pack]));
    const events = packs.flatMap((pack) => unpacked(pack, follows));
    let isNews = events.length > 0 && this.followers.receive(events);
    const hints = new Set(packs.flatMap((pack) => hintsIn(pack) ?? []));
    if (hints.has(GAP)) this.followers.missed();
    else for (const channel of hints) isNews = this.followers.hints.hear(channel) || isNews;
    return isNews;
  }

  /** A stream that ends before the last seen id is a new stream: all its entries are new, and those of the old one are gone. */
  private async begin(redis: Redis): Promise<string> {
    const [last] = await redis.xrevrange(STREAM_KEY, '+', '-', 'COUNT', 1);
    const end = last?.[0] ?? BEFORE_THE_FIRST;
    this.#position ??= end;
    if (isBefore(end, this.#position)) {
      this.#position = BEFORE_THE_FIRST;
      this.#isReading = false;
    }
    return this.#position;
  }
}
