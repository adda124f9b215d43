import type { TaskStatus } from '#protocol/snapshots.js';
import { JsonText } from '../../json/json-text.js';
import { isOver, type Task } from '../domain/task.js';
import type { TaskIdentity } from '../domain/task-identity.js';

/** A task as read under a lock, or without one. */
export interface TaskRecord {
  readonly identity: TaskIdentity;
  readonly task: Task;
  /** The fault of a row to which no sequence of events leads. */
  readonly flaw: string | null;
  /** The holder of the lease; null without a lease. */
  readonly workerId: string | null;
  /** The span of the request that created it, in the form of W3C Trace Context. */
  readonly traceparent: string | null;
  /** Attempts of this task that may fail or be lost; null: TASK_MAX_ATTEMPTS. */
  readonly maxAttempts: number | null;
  /** The clock of the database when the row was read, in Unix milliseconds, rounded down. */
  readonly now: number;
}

export interface TaskRow {
  task_id: string;
  tenant_id: string;
  owner_id: string;
  task_type: string;
  client_request_id: string;
  correlation_id: string;
  status: TaskStatus;
  head_event_id: string;
  progress: number | null;
  attempt: number;
  spent_attempts: number;
  attempt_base: string;
  has_steps: boolean;
  lease_token: string | null;
  lease_number: number;
  worker_id: string | null;
  batch_seq: number;
  traceparent: string | null;
  lease_expired: boolean | null;
  suspend_id: string | null;
  suspension_expired: boolean | null;
  resuming: boolean;
  cancel_reason: string | null;
  cancel_requested: boolean;
  is_claimable: boolean;
  is_held: boolean;
  aside_code: string | null;
  max_attempts: number | null;
  now: number;
}

/**
 * Whether a full key keeps it out of the queue, of a `proj_tasks t`. Release 0.1.0 leaves the key on what it leases and ends.
 */
export const IS_HELD = `(t.hold_key IS NOT NULL AND t.claimable_at IS NULL AND t.lease_token IS NULL AND t.suspend_id IS NULL
  AND t.finished_at IS NULL)`;

/** The columns of `TaskRow`, of a `proj_tasks t`. Expiry is judged here, by the database clock. */
export const TASK_COLUMNS = `t.task_id, t.tenant_id, t.owner_id, t.task_type, t.client_request_id, t.correlation_id,
  t.status, t.head_event_id, t.progress, t.attempt, t.spent_attempts, t.attempt_base, t.lease_token, t.lease_number, t.worker_id,
  t.batch_seq, t.traceparent, t.suspend_id, t.suspend_expires_at <= clock_timestamp() AS suspension_expired, t.resuming, t.lease_expires_at <= clock_timestamp() AS lease_expired, t.cancel_reason,
  EXISTS (SELECT FROM taskbridge.entries_steps s WHERE s.task_id = t.task_id) AS has_steps,
  t.cancel_requested_at IS NOT NULL AS cancel_requested, t.claimable_at IS NOT NULL AS is_claimable,
  ${IS_HELD} AS is_held, t.aside_code,
  t.max_attempts, floor(extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now`;

/** A column of JSON, read as text. */
export function jsonTextIn(column: string | null): JsonText | null {
  return column === null ? null : new JsonText(column);
}

export function taskRecord(row: TaskRow): TaskRecord {
  return {
    identity: {
      taskId: row.task_id,
      tenantId: row.tenant_id,
      ownerId: row.owner_id,
      taskType: row.task_type,
      clientRequestId: row.client_request_id,
      correlationId: row.correlation_id,
    },
    task: {
      status: row.status,
      headEventId: Number(row.head_event_id),
      attempt: row.attempt,
      spentAttempts: row.spent_attempts,
      attemptBase: Number(row.attempt_base),
      hasSteps: row.has_steps,
      leaseNumber: row.lease_number,
      batchSeq: row.batch_seq,
      progress: row.progress,
      cancellation: row.cancel_requested ? { reason: row.cancel_reason ?? '' } : null,
      run: runOf(row),
    },
    flaw: flawOf(row),
    workerId: row.worker_id,
    traceparent: row.traceparent,
    maxAttempts: row.max_attempts,
    now: row.now,
  };
}

function runOf(row: TaskRow): Task['run'] {
  if (row.aside_code !== null) return { state: 'aside', code: row.aside_code };
  if (row.lease_token !== null) return { state: 'leased', token: row.lease_token, expired: row.lease_expired === true };
  if (isOver(row.status)) return { state: 'over' };
  if (row.suspend_id === null) return { state: 'queued', resumes: row.resuming };
  return { state: 'suspended', suspendId: row.suspend_id, expired: row.suspension_expired === true };
}

/** Whether the columns agree on exactly one state. */
function flawOf(row: TaskRow): string | null {
  const head = Number(row.head_event_id);
  if (!Number.isSafeInteger(head) || head < 0) return `its last event has the id ${row.head_event_id}`;
  const holders = [row.is_claimable, row.is_held, row.lease_token !== null, row.suspend_id !== null].filter(
    Boolean,
  ).length;
  if (row.aside_code !== null) return holders > 0 ? 'set aside, and not out of the queue' : null;
  if (isOver(row.status)) return holders > 0 ? `${row.status}, and waiting, leased or suspended` : null;
  if (holders !== 1) return `${row.status}, and ${holders} of waiting, leased and suspended`;
  if ((row.status === 'ACCEPTED') !== (head === 0)) return `${row.status}, and has ${head} events`;
  return null;
}
