import type { TaskStatus } from '#protocol/snapshots.js';

/**
 * The holder of the task now. `queued`: nobody, it may be claimed; `resumes` when the claim goes on with the attempt that asked and was
 * answered. `leased`: the holder of the token, until the lease expires by the database clock. `suspended`: nobody, until the
 * question is answered or expires. `over`: nobody, ever again. `aside`: nobody, until an operator repairs the task, which could
 * not be written.
 */
export type Run =
  | { readonly state: 'queued'; readonly resumes: boolean }
  | { readonly state: 'leased'; readonly token: string; readonly expired: boolean }
  | { readonly state: 'suspended'; readonly suspendId: string; readonly expired: boolean }
  | { readonly state: 'over' }
  | { readonly state: 'aside'; readonly code: string };

/**
 * What decisions are made from. The life of a task, in prose: it is ACCEPTED without an event and waits. The first claim
 * writes TASK_STARTED and makes it RUNNING; it stays so through any number of attempts, each of them under a lease of its own,
 * TASK_RETRYING between two. A running attempt may ask: TASK_SUSPENDED gives the lease back, TASK_ACTION_ACCEPTED makes the task
 * claimable again for the same attempt. One terminal event ends it as COMPLETED, FAILED or CANCELLED, and nothing follows that.
 */
export interface Task {
  readonly status: TaskStatus;
  /** The id of the last event; 0 while there is none. */
  readonly headEventId: number;
  /** The last claimed attempt, from 1; 0 while there was none. */
  readonly attempt: number;
  /** Attempts that count towards the maximum: failures and lost leases. */
  readonly spentAttempts: number;
  /** Where what counts ends when the attempt is lost: at the last finished step, without any at the head when the attempt began. */
  readonly attemptBase: number;
  /** Whether a step is finished, in any attempt. */
  readonly hasSteps: boolean;
  /** How many leases there were. */
  readonly leaseNumber: number;
  /** The last batch of events stored under the current lease; 0 before the first. */
  readonly batchSeq: number;
  readonly progress: number | null;
  readonly cancellation: { readonly reason: string } | null;
  readonly run: Run;
}

export const NEW_TASK: Task = {
  status: 'ACCEPTED',
  headEventId: 0,
  attempt: 0,
  spentAttempts: 0,
  attemptBase: 0,
  hasSteps: false,
  leaseNumber: 0,
  batchSeq: 0,
  progress: null,
  cancellation: null,
  run: { state: 'queued', resumes: false },
};

export function isOver(status: TaskStatus): boolean {
  return status === 'COMPLETED' || status === 'FAILED' || status === 'CANCELLED';
}
