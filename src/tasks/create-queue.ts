import { LockNotHad } from '../database/database.errors.js';
import { BatchQueue } from './batch-queue.js';
import type { InsertOutcome } from './store/first-attempts.js';
import type { NewTaskRow } from './store/insert-task.js';

/** The size of what is waiting and of a batch is counted in pages: a small task is one. */
const PAGE_CHARACTERS = 4_096;
/** 20 MB of tasks, or as many small ones as PostgreSQL stores in a second. */
const MAX_WAITING_PAGES = 5_000;
/** A larger batch is no faster, and comes nearer to an owner's cap at once (see NEAR_THE_CAP). */
export const MAX_BATCH_PAGES = 100;
/** The most requests that are remembered as held up. */
const MAX_HELD_UP = 1_000;

type Store = (tasks: readonly NewTaskRow[]) => Promise<readonly InsertOutcome[]>;
/** The batch waited for a lock too long, and this task may not be the one that did. */
type Outcome = InsertOutcome | { readonly outcome: 'held_up' };

/**
 * New tasks on their way to PostgreSQL, without a connection for each. They need no order. The same request in an open transaction,
 * of SQL or of another replica, holds a create up. Such a create holds up one batch at most: afterwards each of its tasks goes alone, and
 * so do repeats of that request.
 */
export class CreateQueue {
  readonly #batches: BatchQueue<NewTaskRow, Outcome>;
  readonly #alone: BatchQueue<NewTaskRow, InsertOutcome>;
  readonly #heldUp = new Set<string>();

  constructor(private readonly store: Store) {
    const batching = {
      keyOf: ({ taskId }: NewTaskRow) => taskId,
      sizeOf: pagesOf,
      maxWaiting: MAX_WAITING_PAGES,
    };
    this.#batches = new BatchQueue((tasks) => this.storeAll(tasks), { ...batching, maxBatch: MAX_BATCH_PAGES });
    this.#alone = new BatchQueue((tasks) => this.storeOne(tasks), { ...batching, maxBatch: 0 });
  }

  /** @throws TooMuchWaiting, DatabaseUnavailable; LockNotHad where the same request is under way in another transaction */
  async push(task: NewTaskRow): Promise<InsertOutcome> {
    if (this.#heldUp.has(requestOf(task))) return this.#alone.push(task);
    const outcome = await this.#batches.push(task);
    return outcome.outcome === 'held_up' ? this.#alone.push(task) : outcome;
  }

  private async storeAll(tasks: readonly NewTaskRow[]): Promise<readonly Outcome[]> {
    if (tasks.length === 1) return this.storeOne(tasks);
    try {
      return await this.store(tasks);
    } catch (error) {
      if (error instanceof LockNotHad) return tasks.map(() => ({ outcome: 'held_up' }));
      throw error;
    }
  }

  private async storeOne(tasks: readonly NewTaskRow[]): Promise<readonly InsertOutcome[]> {
    const [request = ''] = tasks.map(requestOf);
    try {
      const outcomes = await this.store(tasks);
      this.#heldUp.delete(request);
      return outcomes;
    } catch (error) {
      if (error instanceof LockNotHad) this.remember(request);
      throw error;
    }
  }

  private remember(request: string): void {
    this.#heldUp.add(request);
    const [oldest] = this.#heldUp;
    if (this.#heldUp.size > MAX_HELD_UP && oldest !== undefined) this.#heldUp.delete(oldest);
  }
}

function requestOf({ tenantId, ownerId, clientRequestId }: NewTaskRow): string {
  return JSON.stringify([tenantId, ownerId, clientRequestId]);
}

function pagesOf({ inputJson, metadataJson }: NewTaskRow): number {
  return 1 + Math.floor(((inputJson?.length ?? 0) + (metadataJson?.length ?? 0)) / PAGE_CHARACTERS);
}
