import { BatchQueue, type Locked } from './batch-queue.js';
import type { AppendOutcome, AppendRequest } from './store/append-batch.js';

/** About as many events as PostgreSQL stores in some seconds. */
const MAX_WAITING_EVENTS = 20_000;
/** A larger batch is no faster, and makes all its requests wait longer. */
const MAX_BATCH_EVENTS = 500;

/** A task is in one batch at a time, so its requests are stored in their order of arrival. */
export class AppendQueue extends BatchQueue<AppendRequest, Exclude<AppendOutcome, Locked>> {
  constructor(store: (requests: readonly AppendRequest[]) => Promise<readonly AppendOutcome[]>) {
    super(store, {
      keyOf: ({ taskId }) => taskId,
      sizeOf: ({ events }) => events.length,
      maxWaiting: MAX_WAITING_EVENTS,
      maxBatch: MAX_BATCH_EVENTS,
    });
  }
}
