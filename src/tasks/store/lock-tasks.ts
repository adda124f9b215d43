import type { Queryable, Statement } from '../../database/queryable.js';
import { isPaused } from './type-policies.js';
import { TASK_COLUMNS, taskRecord, type TaskRecord, type TaskRow } from './task-row.js';

// Every change of a task begins with the lock of its row, so ids are given out one writer at a time. Statements that lock several
// rows skip those that others have locked. So no session waits while it holds a lock. Rounds take rows in the order of an index that
// has only those: in the order of ids PostgreSQL may walk the primary key, and so all tasks there are.

const BY_ID: Statement = {
  name: 'lock-task',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t WHERE t.task_id = $1 FOR UPDATE`,
};

/** Waits for the row. Empty when there is no such task. */
export async function lockTask(tx: Queryable, taskId: string): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(BY_ID, [taskId])).map(taskRecord);
}

/** Index: the primary key. */
const EXISTING: Statement = {
  name: 'find-tasks',
  text: `SELECT task_id FROM taskbridge.proj_tasks WHERE task_id = ANY ($1::uuid[])`,
};

/** Which of these tasks there are. Takes no lock. */
export async function findTasks(db: Queryable, taskIds: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await db.query<{ task_id: string }>(EXISTING, [taskIds]);
  return new Set(rows.map((row) => row.task_id));
}

const BY_IDS: Statement = {
  name: 'lock-tasks',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t WHERE t.task_id = ANY ($1::uuid[])
    ORDER BY t.task_id FOR UPDATE SKIP LOCKED`,
};

/** Those of these tasks that no other session has locked. */
export async function lockTasks(tx: Queryable, taskIds: readonly string[]): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(BY_IDS, [taskIds])).map(taskRecord);
}

/** Index: proj_tasks_queue. The types, of these, that have a claimable task now. Takes no lock. */
const WAITING_TYPES: Statement = {
  name: 'waiting-task-types',
  text: `SELECT wanted.task_type FROM unnest($1::text[]) AS wanted (task_type) WHERE NOT ${isPaused('wanted.task_type')} AND EXISTS (
      SELECT FROM taskbridge.proj_tasks t
      WHERE t.task_type = wanted.task_type AND t.vtime IS NOT NULL AND t.claimable_at <= clock_timestamp())`,
};

export async function waitingTaskTypes(db: Queryable, taskTypes: readonly string[]): Promise<readonly string[]> {
  return (await db.query<{ task_type: string }>(WAITING_TYPES, [taskTypes])).map((row) => row.task_type);
}

/**
 * Index: proj_tasks_running. A lease without an end counts as expired. With `$1` true every lease does, for the only process on a
 * database.
 */
const EXPIRED: Statement = {
  name: 'lock-expired-leases',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.lease_token IS NOT NULL AND (coalesce(t.lease_expires_at <= clock_timestamp(), true) OR $1)
    ORDER BY t.task_type LIMIT $2 FOR UPDATE SKIP LOCKED`,
};

export async function lockExpiredLeases(tx: Queryable, every: boolean, limit: number): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(EXPIRED, [every, limit])).map(taskRecord);
}

/** Index: proj_tasks_suspended. Questions without an answer in time. */
const UNANSWERED: Statement = {
  name: 'lock-expired-suspensions',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t WHERE t.suspend_expires_at <= clock_timestamp()
    ORDER BY t.suspend_expires_at LIMIT $1 FOR UPDATE SKIP LOCKED`,
};

export async function lockExpiredSuspensions(tx: Queryable, limit: number): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(UNANSWERED, [limit])).map(taskRecord);
}

/** How long a running task of a type may take to obey a cancellation. */
export interface Grace {
  readonly taskType: string;
  readonly seconds: number;
}

/** Index: proj_tasks_running. Tasks whose holder was asked to stop longer ago than `$1` seconds, or those of its type. */
const OVERDUE: Statement = {
  name: 'lock-overdue-cancellations',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.lease_token IS NOT NULL AND t.cancel_requested_at <= clock_timestamp() - make_interval(secs => coalesce(
      ($4::float8[])[array_position($3::text[], t.task_type)], $1))
    ORDER BY t.task_type LIMIT $2 FOR UPDATE SKIP LOCKED`,
};

export async function lockOverdueCancellations(
  tx: Queryable,
  graceSeconds: number,
  ofTypes: readonly Grace[],
  limit: number,
): Promise<readonly TaskRecord[]> {
  const columns = [ofTypes.map(({ taskType }) => taskType), ofTypes.map(({ seconds }) => seconds)];
  return (await tx.query<TaskRow>(OVERDUE, [graceSeconds, limit, ...columns])).map(taskRecord);
}

/** Index: proj_tasks_attempt_deadline. Attempts whose time is over. */
const TIMED_OUT: Statement = {
  name: 'lock-timed-out-attempts',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.attempt_deadline_at <= clock_timestamp() AND t.lease_token IS NOT NULL
    ORDER BY t.attempt_deadline_at LIMIT $1 FOR UPDATE SKIP LOCKED`,
};

export async function lockTimedOutAttempts(tx: Queryable, limit: number): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(TIMED_OUT, [limit])).map(taskRecord);
}

/** Index: proj_tasks_deadline. Tasks that had to be over by now. */
const OVERDUE_TASKS: Statement = {
  name: 'lock-overdue-tasks',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.deadline_at <= clock_timestamp() AND t.finished_at IS NULL AND t.aside_code IS NULL
    ORDER BY t.deadline_at LIMIT $1 FOR UPDATE SKIP LOCKED`,
};

/** Index: proj_tasks_start_deadline. Tasks that had to begin by now. */
const LATE_STARTS: Statement = {
  name: 'lock-late-starts',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.start_deadline_at <= clock_timestamp() AND t.started_at IS NULL AND t.finished_at IS NULL AND t.aside_code IS NULL
    ORDER BY t.start_deadline_at LIMIT $1 FOR UPDATE SKIP LOCKED`,
};

export async function lockExpiredTasks(tx: Queryable, limit: number): Promise<readonly TaskRecord[]> {
  const rows = await tx.query<TaskRow>(OVERDUE_TASKS, [limit]);
  const known = new Set(rows.map(({ task_id }) => task_id));
  const late = await tx.query<TaskRow>(LATE_STARTS, [limit]);
  return [...rows, ...late.filter(({ task_id }) => !known.has(task_id))].map(taskRecord);
}

/**
 * Index: proj_tasks_ownerless. Tasks that are not over, and that no executor would ever continue. Tasks that a later release holds back
 * by a limit, or gave to an engine, look the same, and are none of them.
 */
const UNATTENDED: Statement = {
  name: 'lock-unattended-tasks',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.finished_at IS NULL AND t.claimable_at IS NULL AND t.lease_token IS NULL AND t.suspend_id IS NULL
      AND t.aside_code IS NULL AND t.hold_key IS NULL AND t.engine_token IS NULL AND t.executor = 'lease'
    ORDER BY t.task_id LIMIT $1 FOR UPDATE SKIP LOCKED`,
};

export async function lockUnattendedTasks(tx: Queryable, limit: number): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(UNATTENDED, [limit])).map(taskRecord);
}
