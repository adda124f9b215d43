import { addedBytes, Batch, type Piece } from './batch.js';
import type { HandlerEvent, SizedEvent } from './events.js';
import { Refused } from './holder-errors.js';
import type { StoredResult } from './lease-holder.js';
import { JOIN_BYTES, JOIN_MS, MAX_BUFFERED_BYTES } from './limits.js';

/**
 * The events of one attempt on their way to the service: in order, one batch at a time. Progress and messages leave at once, and so
 * does the first output after 50 ms of silence; further output is joined until 50 ms are over or 4 KiB are there. A batch keeps its
 * number until it is stored, so that one whose answer was lost is not stored twice.
 */
export class EventSender {
  #pieces: Piece[] = [];
  /** The size of `#pieces`. */
  #pendingBytes = 0;
  /** The size of the batch under way. */
  #sendingBytes = 0;
  /** Calls since the last turn of the event loop. */
  #bytesOfTurn = 0;
  #batchSeq = 1;
  #headEventId: number;
  #sentAt = Number.NEGATIVE_INFINITY;
  #isUrgent = false;
  #isDue = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sending: Promise<void> | undefined;
  #waiting: (() => void)[] = [];

  /** `append` repeats the call until it knows the fate of the batch. `headEventId`: of the task, when its lease begins. */
  constructor(
    private readonly append: (batchSeq: number, events: readonly HandlerEvent[]) => Promise<number>,
    headEventId: number,
  ) {
    this.#headEventId = headEventId;
  }

  /** The last event that is known to be stored. */
  get headEventId(): number {
    return this.#headEventId;
  }

  /** Leaves at once. Resolves when the event is stored; rejects when it is refused, or the lease is over. */
  send(event: SizedEvent): Promise<void> {
    this.#isUrgent = true;
    return new Promise((stored, refused) => this.push(event, stored, refused));
  }

  /**
   * Calls `refused` when the event is not stored after all.
   * @returns undefined when the event is buffered and more may come, else a promise that resolves then
   */
  buffer(event: SizedEvent, refused: (error: unknown) => void): Promise<void> | undefined {
    this.push(event, () => undefined, refused);
    if (this.#pendingBytes + this.#sendingBytes > MAX_BUFFERED_BYTES) {
      return new Promise((room) => this.#waiting.push(room));
    }
    if (this.#bytesOfTurn < JOIN_BYTES) return undefined;
    // A handler that awaits nothing else would block the event loop.
    this.#bytesOfTurn = 0;
    return new Promise((turn) => setImmediate(turn));
  }

  /** Sends the waiting events. Resolves when all are stored or refused. */
  async settled(): Promise<void> {
    for (;;) {
      this.flush();
      if (!this.#sending) return;
      await this.#sending;
    }
  }

  /**
   * Stores the end of a step behind all that waits, as a batch of its own. @returns the JSON that is stored as its result
   */
  async finish(call: (batchSeq: number) => Promise<StoredResult>): Promise<string> {
    await this.settled();
    const finished = call(this.#batchSeq).then(({ eventId, resultJson }) => {
      this.#batchSeq += 1;
      this.#headEventId = Math.max(this.#headEventId, eventId);
      return resultJson;
    });
    this.#sending = finished.then(
      () => this.sent(),
      () => this.sent(),
    );
    return finished;
  }

  private push(event: SizedEvent, stored: () => void, refused: (error: unknown) => void): void {
    const last = this.#pieces.at(-1);
    const bytes = (last && addedBytes(last.event, event)) ?? event.bytes;
    this.#pieces.push({ event, stored, refused });
    this.#pendingBytes += bytes;
    this.#bytesOfTurn += bytes;
    this.schedule();
  }

  private schedule(): void {
    if (this.#sending || this.#isDue || this.#pieces.length === 0) return;
    const isFull = this.#pendingBytes >= JOIN_BYTES;
    const waitMs = this.#isUrgent || isFull ? 0 : this.#sentAt + JOIN_MS - performance.now();
    if (waitMs > 0) {
      this.#timer ??= setTimeout(() => this.flush(), waitMs);
    } else {
      // After the handler's current turn, so that its calls in one turn are stored together.
      this.#isDue = true;
      queueMicrotask(() => this.flush());
    }
  }

  private flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isDue = false;
    if (this.#sending || this.#pieces.length === 0) return;
    this.#sentAt = performance.now();
    const batch = Batch.of(this.#pieces);
    this.#pieces = this.#pieces.slice(batch.pieces.length);
    // Output that does not fit does not wait.
    this.#isUrgent = this.#pieces.length > 0;
    this.#sendingBytes = batch.bytes;
    this.#pendingBytes = this.#isUrgent ? Math.max(0, this.#pendingBytes - batch.bytes) : 0;
    this.#sending = this.store(batch).finally(() => this.sent());
  }

  private sent(): void {
    this.#sending = undefined;
    this.#sendingBytes = 0;
    if (this.#pendingBytes <= MAX_BUFFERED_BYTES) for (const room of this.#waiting.splice(0)) room();
    this.schedule();
  }

  private async store(batch: Batch): Promise<void> {
    const { pieces } = batch;
    try {
      this.#headEventId = await this.append(this.#batchSeq, batch.events);
      this.#batchSeq += 1;
      for (const { stored } of pieces) stored();
    } catch (error) {
      if (pieces.length > 1 && error instanceof Refused) {
        // Nothing was stored. The batch is halved until the refused event is alone, so that its neighbours are stored.
        const middle = Math.ceil(pieces.length / 2);
        await this.store(Batch.of(pieces.slice(0, middle)));
        await this.store(Batch.of(pieces.slice(middle)));
      } else for (const { refused } of pieces) refused(error);
    }
  }
}
