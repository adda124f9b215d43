import type { Queryable, Statement } from '../../database/queryable.js';
import type { JsonObject } from '../domain/task-event.js';
import { TASK_COLUMNS, taskRecord, type TaskRecord, type TaskRow } from './task-row.js';

// Every change of a task begins with the lock of its row, so ids are given out one writer at a time. Statements that lock
// several rows take them in task-id order and skip those that somebody else holds: nobody waits while holding.

const BY_ID: Statement = {
  name: 'lock-task',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t WHERE t.task_id = $1 FOR UPDATE`,
};

/** Waits for the row. Empty when there is no such task. */
export async function lockTask(tx: Queryable, taskId: string): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(BY_ID, [taskId])).map(taskRecord);
}

/** A waiting task, with what its handler needs. */
export interface ClaimableRecord extends TaskRecord {
  readonly input: JsonObject | null;
  readonly metadata: JsonObject | null;
  readonly waitedSeconds: number;
}

/** Index: proj_tasks_claimable. Oldest first. */
const CLAIMABLE: Statement = {
  name: 'lock-claimable-tasks',
  text: `SELECT ${TASK_COLUMNS}, t.input, t.metadata,
      extract(epoch FROM clock_timestamp() - t.claimable_at)::float8 AS waited_seconds
    FROM taskbridge.proj_tasks t WHERE t.claimable_at <= clock_timestamp() AND t.task_type = ANY ($1::text[])
    ORDER BY t.claimable_at, t.task_id LIMIT $2 FOR UPDATE SKIP LOCKED`,
};

export async function lockClaimableTasks(
  tx: Queryable,
  taskTypes: readonly string[],
  limit: number,
): Promise<readonly ClaimableRecord[]> {
  type Row = TaskRow & { input: JsonObject | null; metadata: JsonObject | null; waited_seconds: number };
  const rows = await tx.query<Row>(CLAIMABLE, [taskTypes, limit]);
  return rows.map((row) => ({
    ...taskRecord(row),
    input: row.input,
    metadata: row.metadata,
    waitedSeconds: row.waited_seconds,
  }));
}

/** Index: proj_tasks_leased. `$1` true takes every lease for expired: for a process that knows it is the only one. */
const EXPIRED: Statement = {
  name: 'lock-expired-leases',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.lease_token IS NOT NULL AND (t.lease_expires_at <= clock_timestamp() OR $1)
    ORDER BY t.task_id LIMIT $2 FOR UPDATE SKIP LOCKED`,
};

export async function lockExpiredLeases(
  tx: Queryable,
  every: boolean,
  limit: number,
): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(EXPIRED, [every, limit])).map(taskRecord);
}

/** Index: proj_tasks_leased. Tasks whose holder was asked to stop longer ago than `$1` seconds. */
const OVERDUE: Statement = {
  name: 'lock-overdue-cancellations',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.lease_token IS NOT NULL AND t.cancel_requested_at <= clock_timestamp() - make_interval(secs => $1)
    ORDER BY t.task_id LIMIT $2 FOR UPDATE SKIP LOCKED`,
};

export async function lockOverdueCancellations(
  tx: Queryable,
  graceSeconds: number,
  limit: number,
): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(OVERDUE, [graceSeconds, limit])).map(taskRecord);
}
