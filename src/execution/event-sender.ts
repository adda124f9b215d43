import { setTimeout as delay } from 'node:timers/promises';
import { TaskBridgeError } from '../taskbridge-error.js';
import type { NewEvent } from '../tasks/domain/task-event.js';
import { EventTooLarge } from '../tasks/domain/tasks.errors.js';

/** Events and bytes of one batch, as for a remote worker. */
const MAX_BATCH_EVENTS = 500;
const MAX_BATCH_BYTES = 256 * 1024;
/** How long after an outage the same batch is sent again. */
const RETRY_MS = 200;

interface Pending {
  readonly event: NewEvent;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The events of one attempt on their way to the log: in order, one batch at a time, each batch being what came up while the last
 * one was stored. A batch keeps its number until it is answered, so that one whose answer was lost is not stored twice.
 */
export class EventSender {
  #pending: Pending[] = [];
  #batchSeq = 0;
  #sending: Promise<void> | undefined;

  constructor(
    private readonly append: (batchSeq: number, events: readonly NewEvent[]) => Promise<void>,
    private readonly maxEventBytes: number,
    private readonly stopped: AbortSignal,
  ) {}

  /** Resolves when the event is stored. @throws EventTooLarge, or why the attempt is over */
  send(event: NewEvent): Promise<void> {
    if (Buffer.byteLength(event.json) > this.maxEventBytes)
      return Promise.reject(new EventTooLarge(this.maxEventBytes));
    if (this.stopped.aborted) return Promise.reject(this.stopped.reason as Error);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#pending.push({ event, resolve, reject });
    this.#sending ??= this.sendAll().finally(() => {
      this.#sending = undefined;
    });
    return promise;
  }

  /** Resolves when everything sent so far is stored or refused. */
  async settled(): Promise<void> {
    while (this.#sending) await this.#sending;
  }

  private async sendAll(): Promise<void> {
    // One turn of the event loop, so that events that are sent together are stored together.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const batch = this.takeBatch();
      this.#batchSeq += 1;
      try {
        await this.sendBatch(batch.map(({ event }) => event));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of [...batch, ...this.#pending.splice(0)]) reject(error);
      }
    }
  }

  private async sendBatch(events: readonly NewEvent[]): Promise<void> {
    for (;;) {
      try {
        return await this.append(this.#batchSeq, events);
      } catch (error) {
        const passes = error instanceof TaskBridgeError && error.kind === 'unavailable';
        if (!passes || this.stopped.aborted) throw error;
        await delay(RETRY_MS);
      }
    }
  }

  private takeBatch(): Pending[] {
    let bytes = 0;
    let count = 0;
    for (const { event } of this.#pending) {
      bytes += event.json.length;
      if (count > 0 && (count === MAX_BATCH_EVENTS || bytes > MAX_BATCH_BYTES)) break;
      count += 1;
    }
    return this.#pending.splice(0, count);
  }
}
