import { BatchQueue } from './batch-queue.js';
import type { InsertOutcome, NewTaskRow } from './store/insert-task.js';

/** The size of what is waiting and of a batch is counted in pages: a small task is one. */
const PAGE_CHARACTERS = 4_096;
/** 20 MB of tasks, or as many small ones as PostgreSQL stores in a second. */
const MAX_WAITING_PAGES = 5_000;
/** A larger batch is no faster, and comes nearer to an owner's cap at once (see submit-task.ts). */
export const MAX_BATCH_PAGES = 100;

/** New tasks on their way to PostgreSQL, without a connection for each. They need no order. */
export class CreateQueue extends BatchQueue<NewTaskRow, InsertOutcome> {
  constructor(store: (tasks: readonly NewTaskRow[]) => Promise<readonly InsertOutcome[]>) {
    super(store, {
      keyOf: ({ taskId }) => taskId,
      sizeOf: pagesOf,
      maxWaiting: MAX_WAITING_PAGES,
      maxBatch: MAX_BATCH_PAGES,
    });
  }
}

function pagesOf({ inputJson, metadataJson }: NewTaskRow): number {
  return 1 + Math.floor(((inputJson?.length ?? 0) + (metadataJson?.length ?? 0)) / PAGE_CHARACTERS);
}
