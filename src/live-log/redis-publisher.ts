import { AsyncLocalStorage } from 'node:async_hooks';
import type { Redis } from 'ioredis';
import { within } from '../deadline.js';
import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { packs } from './event-pack.js';
import { GAP, hintPack } from './hint-pack.js';
import type { RedisUse } from './redis-connection.js';
import { checkWritable, STREAM_ENTRIES, STREAM_KEY } from './redis-stream.js';

/**
 * The limit of waiting events while Redis is slow, in bytes: their payloads, and a fixed number for each event. Events beyond it
 * are dropped.
 */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
const EVENT_BYTES = 200;
/** The limit of waiting channels. Beyond it one hint stands for all. */
const MAX_WAITING_CHANNELS = 10_000;
const MAX_BATCH_EVENTS = 500;
const REPLY_TIMEOUT_MS = 1_000;
/** How often an idle connection asks whether Redis would accept a write. */
const IDLE_CHECK_MS = 2_000;

interface Batch {
  readonly events: readonly StoredEvent[];
  readonly channels: ReadonlySet<string>;
}

/**
 * Adds events and hints to the stream, under the name of their publisher. Those of the last round trip go together. Without a
 * connection nothing is kept: comparisons with PostgreSQL deliver it before there is one. When it is back, it says that there was a
 * gap, so that the others compare at once.
 */
export class RedisPublisher implements RedisUse {
  readonly role = 'publish';
  readonly replyTimeoutMs = REPLY_TIMEOUT_MS;
  #isOpen = false;
  #isSending = false;
  #waiting: StoredEvent[] = [];
  #waitingBytes = 0;
  #channels = new Set<string>();
  /** Whether something was dropped that the others have not been warned of. */
  #hasGap = false;
  #wake: () => void = () => {};
  /** The story of what waits first: the round trip is a part of it. */
  #inStory = AsyncLocalStorage.snapshot();
  #settled = Promise.withResolvers<void>();

  /** @param origin by which readers recognise their own entries */
  constructor(private readonly origin: string) {}

  publish(events: readonly StoredEvent[]): void {
    if (events.length === 0 || !this.opens()) return;
    for (const event of events) {
      const bytes = bytesOf(event);
      this.#hasGap ||= this.#waitingBytes + bytes > MAX_WAITING_BYTES;
      if (this.#waitingBytes + bytes > MAX_WAITING_BYTES) return;
      this.#waiting.push(event);
      this.#waitingBytes += bytes;
    }
  }

  /** @param channel as `channelOf` makes it */
  hint(channel: string): void {
    if (!this.opens()) return;
    if (this.#channels.size < MAX_WAITING_CHANNELS) this.#channels.add(channel);
    else this.#hasGap = true;
  }

  /** Resolves when Redis has all that was published, or there is no connection any more. */
  async settled(): Promise<void> {
    if (this.#isSending || this.hasWork) await this.#settled.promise;
  }

  async run(redis: Redis, works: () => void): Promise<void> {
    redis.once('close', () => this.#wake());
    try {
      for (;;) {
        this.#isSending = this.hasWork;
        await (this.#isSending ? this.#inStory(add, redis, this.origin, this.take()) : checkWritable(redis));
        works();
        this.#isOpen = true;
        if (this.hasWork) continue;
        this.settle();
        await this.idle();
      }
    } finally {
      this.#isOpen = false;
      this.#hasGap ||= this.#isSending || this.hasWork;
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.#channels.clear();
      this.settle();
    }
  }

  private get hasWork(): boolean {
    return this.#waiting.length > 0 || this.#channels.size > 0 || this.#hasGap;
  }

  /** Whether something may wait. Wakes the connection after all that this turn publishes. */
  private opens(): boolean {
    if (!this.#isOpen) this.#hasGap = true;
    else if (!this.hasWork) {
      this.#inStory = AsyncLocalStorage.snapshot();
      process.nextTick(() => this.#wake());
    }
    return this.#isOpen;
  }

  private take(): Batch {
    const events = this.#waiting.splice(0, MAX_BATCH_EVENTS);
    for (const event of events) this.#waitingBytes -= bytesOf(event);
    const channels = this.#hasGap ? new Set([GAP]) : this.#channels;
    this.#channels = new Set();
    this.#hasGap = false;
    return { events, channels };
  }

  private settle(): void {
    this.#isSending = false;
    this.#settled.resolve();
    this.#settled = Promise.withResolvers();
  }

  /** Until something is published, the connection is closed, or it is time to check the connection. */
  private async idle(): Promise<void> {
    const { promise: woken, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await within(IDLE_CHECK_MS, woken);
  }
}

function bytesOf(event: StoredEvent): number {
  return event.payloadJson.length + EVENT_BYTES;
}

async function add(redis: Redis, origin: string, { events, channels }: Batch): Promise<void> {
  const entries = [...packs(events), ...(channels.size > 0 ? [hintPack(channels)] : [])];
  await Promise.all(entries.map((entry) => redis.xadd(STREAM_KEY, 'MAXLEN', '~', STREAM_ENTRIES, '*', origin, entry)));
}
