import { TaskBridgeError } from '../taskbridge-error.js';
import { TooMuchWaiting } from './domain/tasks.errors.js';
import type { AppendOutcome, AppendRequest } from './store/append-batch.js';

/** Events that may wait in this replica: some seconds of what PostgreSQL takes in. */
const MAX_WAITING_EVENTS = 20_000;
/** Events in one transaction; more gives no speed and makes everybody wait longer. */
const MAX_BATCH_EVENTS = 500;
/** A batch unanswered for so long does not hold up other tasks: another may start beside it, */
const SLOW_BATCH_MS = 100;
/** up to so many in all. */
const MAX_BATCHES_IN_FLIGHT = 4;
/** How soon a task that somebody else had locked is tried again, */
const LOCKED_RETRY_MS = 5;
/** and for how long. Longer than a lock may be held (lock_timeout, statement_timeout). */
const LOCKED_DEADLINE_MS = 10_000;

interface Waiting {
  readonly request: AppendRequest;
  readonly arrivedAt: number;
  readonly resolve: (outcome: Exclude<AppendOutcome, { outcome: 'locked' }>) => void;
  readonly reject: (error: unknown) => void;
}

type Store = (requests: readonly AppendRequest[]) => Promise<readonly AppendOutcome[]>;

/**
 * Natural batching: the next batch is what arrived during the previous commit. No timer, so a lone writer waits for nothing but
 * its own commit. A task is in one batch at a time, so its requests are stored in the order in which they came.
 */
export class AppendQueue {
  #waiting: Waiting[] = [];
  #waitingEvents = 0;
  #busyTasks = new Set<string>();
  #inFlight = 0;
  #slow = 0;

  constructor(private readonly store: Store) {}

  /** @throws TooMuchWaiting when the queue is full, DatabaseUnavailable when PostgreSQL does not answer */
  append(request: AppendRequest): Promise<Exclude<AppendOutcome, { outcome: 'locked' }>> {
    if (this.#waitingEvents + request.events.length > MAX_WAITING_EVENTS) throw new TooMuchWaiting();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, arrivedAt: performance.now(), resolve, reject });
      this.#waitingEvents += request.events.length;
      this.startBatch();
    });
  }

  private startBatch(): void {
    if (this.#inFlight > this.#slow || this.#inFlight >= MAX_BATCHES_IN_FLIGHT) return;
    const batch = this.take();
    if (batch.length > 0) void this.run(batch);
  }

  /** The oldest requests of tasks that are in no batch now, one a task. */
  private take(): Waiting[] {
    const batch: Waiting[] = [];
    const left: Waiting[] = [];
    const leftTasks = new Set<string>();
    let events = 0;
    for (const waiting of this.#waiting) {
      const { taskId } = waiting.request;
      const fits = batch.length === 0 || events + waiting.request.events.length <= MAX_BATCH_EVENTS;
      if (fits && !this.#busyTasks.has(taskId) && !leftTasks.has(taskId)) {
        this.#busyTasks.add(taskId);
        events += waiting.request.events.length;
        batch.push(waiting);
      } else {
        left.push(waiting);
        leftTasks.add(taskId);
      }
    }
    this.#waiting = left;
    this.#waitingEvents -= events;
    return batch;
  }

  private async run(batch: readonly Waiting[]): Promise<void> {
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
      this.startBatch();
    }
  }

  /** A batch that PostgreSQL refuses is halved until only the request that it refuses for is alone. */
  private async storeOrSplit(batch: readonly Waiting[]): Promise<void> {
    try {
      const outcomes = await this.store(batch.map(({ request }) => request));
      outcomes.forEach((outcome, index) => this.settle(batch[index] as Waiting, outcome));
    } catch (error) {
      if (batch.length === 1 || error instanceof TaskBridgeError) {
        for (const waiting of batch) this.release(waiting).reject(error);
        return;
      }
      const middle = Math.ceil(batch.length / 2);
      await this.storeOrSplit(batch.slice(0, middle));
      await this.storeOrSplit(batch.slice(middle));
    }
  }

  private settle(waiting: Waiting, outcome: AppendOutcome): void {
    if (outcome.outcome !== 'locked') this.release(waiting).resolve(outcome);
    else if (performance.now() - waiting.arrivedAt > LOCKED_DEADLINE_MS)
      this.release(waiting).reject(new TooMuchWaiting());
    else setTimeout(() => this.again(waiting), LOCKED_RETRY_MS);
  }

  /** Its task stays busy until now, and it goes before all others: what came after it is not stored before it. */
  private again(waiting: Waiting): void {
    this.#waiting.unshift(this.release(waiting));
    this.#waitingEvents += waiting.request.events.length;
    this.startBatch();
  }

  private release(waiting: Waiting): Waiting {
    this.#busyTasks.delete(waiting.request.taskId);
    return waiting;
  }
}
