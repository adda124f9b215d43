import { AsyncLocalStorage } from 'node:async_hooks';
import type { Redis } from 'ioredis';
import { within } from '../deadline.js';
import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { packs } from './event-pack.js';
import type { RedisUse } from './redis-connection.js';
import { checkWritable, STREAM_ENTRIES, STREAM_KEY } from './redis-stream.js';

/**
 * The limit of waiting events while Redis is slow, in bytes: their payloads, and a fixed number for each event. Events beyond it
 * are dropped.
 */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
const EVENT_BYTES = 200;
const MAX_BATCH_EVENTS = 500;
const REPLY_TIMEOUT_MS = 1_000;
/** How often an idle connection asks whether Redis would accept a write. */
const IDLE_CHECK_MS = 2_000;

/**
 * Adds events to the stream, under the name of their publisher. Events of the last round trip go together. Without a connection
 * nothing is kept: the head comparison delivers it before there is one.
 */
export class RedisPublisher implements RedisUse {
  readonly role = 'publish';
  readonly replyTimeoutMs = REPLY_TIMEOUT_MS;
  #isOpen = false;
  #isSending = false;
  #waiting: StoredEvent[] = [];
  #waitingBytes = 0;
  #wake: () => void = () => {};
  /** The story of the first waiting event: the round trip is a part of it. */
  #inStory = AsyncLocalStorage.snapshot();
  #settled = Promise.withResolvers<void>();

  /** @param origin by which readers recognise their own entries */
  constructor(private readonly origin: string) {}

  publish(events: readonly StoredEvent[]): void {
    if (!this.#isOpen || events.length === 0) return;
    if (this.#waiting.length === 0) {
      this.#inStory = AsyncLocalStorage.snapshot();
      // Runs after all events of the same batch have been published.
      process.nextTick(() => this.#wake());
    }
    for (const event of events) {
      const bytes = bytesOf(event);
      if (this.#waitingBytes + bytes > MAX_WAITING_BYTES) return;
      this.#waiting.push(event);
      this.#waitingBytes += bytes;
    }
  }

  /** Resolves when Redis has all that was published, or there is no connection any more. */
  async settled(): Promise<void> {
    if (this.#isSending || this.#waiting.length > 0) await this.#settled.promise;
  }

  async run(redis: Redis, works: () => void): Promise<void> {
    redis.once('close', () => this.#wake());
    try {
      for (;;) {
        const batch = this.take();
        this.#isSending = batch.length > 0;
        await (this.#isSending ? this.#inStory(add, redis, this.origin, batch) : checkWritable(redis));
        works();
        this.#isOpen = true;
        if (this.#waiting.length > 0) continue;
        this.settle();
        await this.idle();
      }
    } finally {
      this.#isOpen = false;
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.settle();
    }
  }

  private take(): StoredEvent[] {
    const batch = this.#waiting.splice(0, MAX_BATCH_EVENTS);
    for (const event of batch) this.#waitingBytes -= bytesOf(event);
    return batch;
  }

  private settle(): void {
    this.#isSending = false;
    this.#settled.resolve();
    this.#settled = Promise.withResolvers();
  }

  /** Until an event is published, the connection is closed, or it is time to check the connection. */
  private async idle(): Promise<void> {
    const { promise: woken, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await within(IDLE_CHECK_MS, woken);
  }
}

function bytesOf(event: StoredEvent): number {
  return event.payloadJson.length + EVENT_BYTES;
}

async function add(redis: Redis, origin: string, events: readonly StoredEvent[]): Promise<void> {
  const added = packs(events).map((pack) => redis.xadd(STREAM_KEY, 'MAXLEN', '~', STREAM_ENTRIES, '*', origin, pack));
  await Promise.all(added);
}
