import { joined, type WireEvent } from './events.js';
import { Refused } from './service.js';

/** How often what came up is sent, */
const FLUSH_MS = 50;
/** and how much of it makes that sooner. */
const FLUSH_BYTES = 4 * 1024;
const MAX_BATCH_EVENTS = 500;
/** The service takes 256 KiB of payloads as it stores them, which is with the attempt in each output. */
const MAX_BATCH_BYTES = 240 * 1024;
/** Of one joined output, in UTF-16 units: below what one event may have, whatever the text. */
const MAX_JOINED_LENGTH = 8 * 1024;
/** The service names something in the batch that it does not take. */
const ABOUT_CONTENT: ReadonlySet<number> = new Set([400, 413, 422]);

interface Pending {
  readonly event: WireEvent;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The events of one attempt on their way to the service: in order, one batch at a time, at most one every 50 ms unless there is
 * much to say; the first of them at once. A batch keeps its number until it is answered, so that one whose answer was lost is not
 * stored twice.
 */
export class EventSender {
  #pending: Pending[] = [];
  #pendingBytes = 0;
  #batchSeq = 1;
  #sentAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;

  /** `append` repeats itself until it knows what became of the batch. */
  constructor(private readonly append: (batchSeq: number, events: readonly WireEvent[]) => Promise<void>) {}

  /** Resolves when the event is stored; rejects when it is refused, or the lease is over. */
  send(event: WireEvent): Promise<void> {
    const bytes = Buffer.byteLength(JSON.stringify(event.payload));
    const stored = new Promise<void>((resolve, reject) => {
      this.#pending.push({ event, bytes, resolve, reject });
    });
    this.#pendingBytes += bytes;
    this.schedule();
    return stored;
  }

  /** Resolves when everything sent so far is stored or refused. */
  async settled(): Promise<void> {
    while (this.#sending ?? this.#pending.length > 0) await (this.#sending ?? this.flush());
  }

  private schedule(): void {
    if (this.#sending || this.#pending.length === 0) return;
    const dueMs = this.#pendingBytes >= FLUSH_BYTES ? 0 : this.#sentAt + FLUSH_MS - performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.flush(), Math.max(0, dueMs));
  }

  private flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#sentAt = performance.now();
    this.#sending ??= this.store(this.takeBatch()).finally(() => {
      this.#sending = undefined;
      this.schedule();
    });
    return this.#sending;
  }

  private async store(batch: readonly Pending[]): Promise<void> {
    try {
      await this.append(this.#batchSeq, joinedEvents(batch));
      this.#batchSeq += 1;
      for (const { resolve } of batch) resolve();
    } catch (error) {
      if (batch.length > 1 && error instanceof Refused && ABOUT_CONTENT.has(error.status)) {
        // Nothing was stored. Halved until the one that is refused is alone, so that its neighbours are not lost with it.
        const middle = Math.ceil(batch.length / 2);
        await this.store(batch.slice(0, middle));
        await this.store(batch.slice(middle));
      } else for (const { reject } of batch) reject(error);
    }
  }

  private takeBatch(): Pending[] {
    let bytes = 0;
    let count = 0;
    for (const pending of this.#pending) {
      if (count > 0 && (count === MAX_BATCH_EVENTS || bytes + pending.bytes > MAX_BATCH_BYTES)) break;
      bytes += pending.bytes;
      count += 1;
    }
    this.#pendingBytes -= bytes;
    return this.#pending.splice(0, count);
  }
}

function joinedEvents(batch: readonly Pending[]): WireEvent[] {
  const events: WireEvent[] = [];
  for (const { event } of batch) {
    const last = events.at(-1);
    const longer = last && joined(last, event);
    if (longer && (longer.payload['data'] as string).length <= MAX_JOINED_LENGTH) events[events.length - 1] = longer;
    else events.push(event);
  }
  return events;
}
