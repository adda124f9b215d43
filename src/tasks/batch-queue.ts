import { TaskBridgeError } from '../errors.js';
import { TooMuchWaiting } from './domain/tasks.errors.js';

/** A batch without an answer for this time does not delay other keys: another may start beside it. */
const SLOW_BATCH_MS = 100;
/** The most batches under way at a time. */
const MAX_BATCHES_IN_FLIGHT = 4;
/** How soon a request is tried again after another session had locked its row. */
const LOCKED_RETRY_MS = 5;
/** How long it is tried again: longer than a session may hold a lock (lock_timeout, statement_timeout). */
const LOCKED_DEADLINE_MS = 10_000;

/** Another session holds a lock that this request needs. */
export interface Locked {
  readonly outcome: 'locked';
}

/** How a queue handles its requests. */
export interface Batching<Request> {
  /** Requests of one key are stored one after the other, in their order of arrival. */
  readonly keyOf: (request: Request) => string;
  readonly sizeOf: (request: Request) => number;
  /** The largest total size of requests that wait in this replica. */
  readonly maxWaiting: number;
  /** The largest size of one transaction, except for a single larger request. */
  readonly maxBatch: number;
}

interface Waiting<Request, Outcome> {
  readonly request: Request;
  readonly arrivedAt: number;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

type Store<Request, Outcome> = (requests: readonly Request[]) => Promise<readonly (Outcome | Locked)[]>;

/**
 * Natural batching: the next batch is what arrived during the previous commit. No timer, so a lone writer waits for nothing but
 * its own commit. A key is in one batch at a time, once.
 */
export class BatchQueue<Request, Outcome extends { readonly outcome: string }> {
  #waiting: Waiting<Request, Outcome>[] = [];
  #waitingSize = 0;
  #busyKeys = new Set<string>();
  #inFlight = 0;
  #slow = 0;
  #starting: NodeJS.Immediate | undefined;

  /** `store` answers one outcome a request, in their order. */
  constructor(
    private readonly store: Store<Request, Outcome>,
    private readonly batching: Batching<Request>,
  ) {}

  /** @throws TooMuchWaiting when the queue is full, DatabaseUnavailable when PostgreSQL does not answer */
  push(request: Request): Promise<Outcome> {
    const size = this.batching.sizeOf(request);
    if (this.#waitingSize + size > this.batching.maxWaiting) throw new TooMuchWaiting();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, arrivedAt: performance.now(), resolve, reject });
      this.#waitingSize += size;
      this.startSoon();
    });
  }

  /** At the end of this turn of the event loop, so that all its requests are one batch, and the first is not alone in one. */
  private startSoon(): void {
    this.#starting ??= setImmediate(() => {
      this.#starting = undefined;
      this.startBatch();
    });
  }

  private startBatch(): void {
    if (this.#inFlight > this.#slow || this.#inFlight >= MAX_BATCHES_IN_FLIGHT) return;
    const batch = this.take();
    if (batch.length > 0) void this.run(batch);
  }

  /** The oldest requests whose keys are in no batch now, one for each key. */
  private take(): Waiting<Request, Outcome>[] {
    const { keyOf, sizeOf, maxBatch } = this.batching;
    const batch: Waiting<Request, Outcome>[] = [];
    const left: Waiting<Request, Outcome>[] = [];
    const leftKeys = new Set<string>();
    let size = 0;
    for (const waiting of this.#waiting) {
      const key = keyOf(waiting.request);
      const fits = batch.length === 0 || size + sizeOf(waiting.request) <= maxBatch;
      if (fits && !this.#busyKeys.has(key) && !leftKeys.has(key)) {
        this.#busyKeys.add(key);
        size += sizeOf(waiting.request);
        batch.push(waiting);
      } else {
        left.push(waiting);
        leftKeys.add(key);
      }
    }
    this.#waiting = left;
    this.#waitingSize -= size;
    return batch;
  }

  private async run(batch: readonly Waiting<Request, Outcome>[]): Promise<void> {
    this.#inFlight += 1;
    let isSlow = false;
    const slow = setTimeout(() => {
      isSlow = true;
      this.#slow += 1;
      this.startBatch();
    }, SLOW_BATCH_MS);
    try {
      await this.storeOrSplit(batch);
    } finally {
      clearTimeout(slow);
      if (isSlow) this.#slow -= 1;
      this.#inFlight -= 1;
      this.startSoon();
    }
  }

  /** A batch that is refused as a whole is halved until the refused request is alone. */
  private async storeOrSplit(batch: readonly Waiting<Request, Outcome>[]): Promise<void> {
    try {
      const outcomes = await this.store(batch.map(({ request }) => request));
      outcomes.forEach((outcome, index) => this.settle(batch[index] as Waiting<Request, Outcome>, outcome));
    } catch (error) {
      if (batch.length === 1 || isOutage(error)) {
        for (const waiting of batch) this.release(waiting).reject(error);
        return;
      }
      const middle = Math.ceil(batch.length / 2);
      await this.storeOrSplit(batch.slice(0, middle));
      await this.storeOrSplit(batch.slice(middle));
    }
  }

  private settle(waiting: Waiting<Request, Outcome>, outcome: Outcome | Locked): void {
    if (outcome.outcome !== 'locked') this.release(waiting).resolve(outcome as Outcome);
    else if (performance.now() - waiting.arrivedAt > LOCKED_DEADLINE_MS)
      this.release(waiting).reject(new TooMuchWaiting());
    else setTimeout(() => this.again(waiting), LOCKED_RETRY_MS);
  }

  /** Its key stays busy until now, and it goes before all others, so no later request of the key overtakes it. */
  private again(waiting: Waiting<Request, Outcome>): void {
    this.#waiting.unshift(this.release(waiting));
    this.#waitingSize += this.batching.sizeOf(waiting.request);
    this.startSoon();
  }

  private release(waiting: Waiting<Request, Outcome>): Waiting<Request, Outcome> {
    this.#busyKeys.delete(this.batching.keyOf(waiting.request));
    return waiting;
  }
}

/** Nothing in the batch is at fault. */
function isOutage(error: unknown): boolean {
  return error instanceof TaskBridgeError && error.kind === 'unavailable';
}
