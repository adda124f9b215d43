import { setTimeout as delay } from 'node:timers/promises';
import type { Batch } from './batches.js';
import { Connection, type StreamEnd } from './connection.js';
import type { Transport } from './transport.js';
import type { Subscription } from './subscription.js';

/** How long a client may take to read what it was sent. */
const SLOW_CONSUMER_DEADLINE_MS = 10_000;
/** How often a client that is behind is looked at: soon, and then less and less often. */
const LOOK_MS = { first: 5, last: 100 } as const;
/** So far above its cap a connection gets by answers to frames that its client goes on sending, and by nothing else. */
const OVERRUN_BYTES = 4 * 1024 * 1024;

/**
 * A connection that streams are written to: one, or as many as the client subscribed to. Thin: it frames, and knows how its
 * transport says goodbye.
 */
export abstract class StreamWriter extends Connection {
  #drained: Promise<boolean> | undefined;
  #beat: { readonly everyMs: number; readonly beat: () => void } | undefined;
  /** Since the last look. Kept instead of a time, which every event would cost. */
  #hasSent = false;
  #silentSince = 0;

  constructor(
    transport: Transport,
    /** Unsent bytes above which no stream is fed. */
    private readonly maxBufferedBytes: number,
  ) {
    super(transport);
  }

  /** The task whose stream this is; undefined where there may be many. */
  abstract readonly taskId: string | undefined;
  /** Bytes handed over and not yet taken by the network. */
  abstract readonly bufferedBytes: number;
  /** Shows that the connection lives, though nothing happens. */
  abstract heartbeat(): void;
  /** All events in one write. */
  protected abstract write(batch: Batch): void;

  send(batch: Batch): void {
    this.write(batch);
    this.#hasSent = true;
  }

  /** The history up to the head at the subscription was sent. */
  caughtUp(_subscription: Subscription): void {}

  /** One of its streams ended. Where there is only one, that is the end of the connection. */
  streamEnded(_taskId: string, why: StreamEnd): void {
    this.end(why);
  }

  /** Calls `beat` whenever no event was sent for so long; once is enough for all streams. */
  onSilence(everyMs: number, beat: () => void): void {
    if (this.#beat) return;
    this.#beat = { everyMs, beat };
    this.#silentSince = performance.now();
  }

  override look(now: number): void {
    const isSilent = !this.#hasSent && now - this.#silentSince >= (this.#beat?.everyMs ?? Infinity);
    if (isSilent || this.#hasSent) this.#silentSince = now;
    this.#hasSent = false;
    if (isSilent) this.#beat?.beat();
  }

  /** Whether nothing is to be sent now: the client has too much to read, or had and is not far enough yet. */
  get isFull(): boolean {
    return this.#drained !== undefined || this.bufferedBytes > this.maxBufferedBytes;
  }

  get isOverrun(): boolean {
    return this.bufferedBytes > this.maxBufferedBytes + OVERRUN_BYTES;
  }

  /**
   * Resolves true when less than half of what is allowed is left to read, or the connection ended, false when the client took
   * too long. Streams on one connection wait together, and go on in the order in which they began to wait.
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
