import { setTimeout as delay } from 'node:timers/promises';
import type { Batch } from '../following/batches.js';
import { Connection, type StreamEnd } from './connection.js';
import type { Transport } from '../following/transport.js';
import type { Subscription } from '../following/subscription.js';

/** How long a client may take to read what the service sent. */
const SLOW_CONSUMER_DEADLINE_MS = 10_000;
/** When to look at a slow client again: soon, then less and less often. */
const LOOK_MS = { first: 5, last: 100 } as const;
/** How far answers to a client's frames may exceed the cap. Only such answers exceed it. */
const OVERRUN_BYTES = 4 * 1024 * 1024;

/**
 * A connection that carries one stream, or all that the client subscribed to. It frames events, and knows the last words of its
 * transport.
 */
export abstract class StreamWriter extends Connection {
  #drained: Promise<boolean> | undefined;
  #beat: { readonly everyMs: number; readonly beat: () => void } | undefined;
  /** Whether an event was sent since the last look. A time would cost a clock read for every event. */
  #hasSent = false;
  #silentSince = 0;

  constructor(
    transport: Transport,
    /** Above this number of unsent bytes no stream is fed. */
    private readonly maxBufferedBytes: number,
  ) {
    super(transport);
  }

  /** The task whose stream this is; undefined where there may be many. */
  abstract readonly taskId: string | undefined;
  /** Bytes handed over and not yet taken by the network. */
  abstract readonly bufferedBytes: number;
  /** Sends a sign of life while no event comes. */
  abstract heartbeat(): void;
  /** All events in one write. */
  protected abstract write(batch: Batch): void;

  send(batch: Batch): void {
    this.write(batch);
    this.noteSent();
  }

  /** Something that counts as an event was sent: the silence begins anew. */
  protected noteSent(): void {
    this.#hasSent = true;
  }

  /** The history up to the head at the subscription was sent. */
  caughtUp(_subscription: Subscription): void {}

  /** One of its streams ended. With a single stream the connection ends, too. */
  streamEnded(_taskId: string, why: StreamEnd): void {
    this.end(why);
  }

  /** Calls `beat` whenever no event was sent for this time. One call serves all streams. */
  onSilence(everyMs: number, beat: () => void): void {
    if (this.#beat) return;
    this.#beat = { everyMs, beat };
    this.#silentSince = performance.now();
  }

  override look(now: number): void {
    super.look(now);
    if (this.why) return;
    const isSilent = !this.#hasSent && now - this.#silentSince >= (this.#beat?.everyMs ?? Infinity);
    if (isSilent || this.#hasSent) this.#silentSince = now;
    this.#hasSent = false;
    if (isSilent) this.#beat?.beat();
  }

  /** Whether to send nothing now: the client has too much to read, or has not yet read enough of it. */
  get isFull(): boolean {
    return this.#drained !== undefined || this.bufferedBytes > this.maxBufferedBytes;
  }

  get isOverrun(): boolean {
    return this.bufferedBytes > this.maxBufferedBytes + OVERRUN_BYTES;
  }

  /**
   * Resolves true when less than half of the allowed bytes are unread, or the connection ended. Resolves false when the client
   * took too long. Streams of one connection wait together, and continue in the order in which they began to wait.
   */
  drained(): Promise<boolean> {
    this.#drained ??= this.watchDrain().finally(() => (this.#drained = undefined));
    return this.#drained;
  }

  private async watchDrain(): Promise<boolean> {
    const deadline = performance.now() + SLOW_CONSUMER_DEADLINE_MS;
    for (
      let ms: number = LOOK_MS.first;
      this.bufferedBytes > this.maxBufferedBytes / 2;
      ms = Math.min(2 * ms, LOOK_MS.last)
    ) {
      if (this.why) return true;
      if (performance.now() > deadline) return false;
      await delay(ms);
    }
    return true;
  }
}
