import { MAX_COUNTED } from '#protocol/operators.js';
import type { Queryable, Statement } from '../../database/queryable.js';

export interface RetentionRun {
  readonly at: Date;
  readonly days: number;
  readonly removedTasks: number;
  readonly removedAuditEntries: number;
}

/** Index: entries_audit_retention. */
const LAST: Statement = {
  name: 'read-last-retention',
  text: `SELECT created_at AS at, (details ->> 'days')::int AS days, (details ->> 'removedTasks')::float8 AS "removedTasks",
      (details ->> 'removedAuditEntries')::float8 AS "removedAuditEntries"
    FROM taskbridge.entries_audit WHERE action = 'retention' ORDER BY created_at DESC LIMIT 1`,
};

export async function readLastRetention(db: Queryable): Promise<RetentionRun | undefined> {
  return (await db.query<RetentionRun>(LAST, []))[0];
}

/** Index: proj_tasks_finished, for which the time has to be one. */
const OVERDUE: Statement = {
  name: 'count-overdue-tasks',
  text: `SELECT count(*)::int AS tasks, min(finished_at) AS "oldestFinishedAt" FROM (
      SELECT t.finished_at FROM taskbridge.proj_tasks t WHERE t.finished_at <= statement_timestamp() - make_interval(days => $1)
      ORDER BY t.finished_at LIMIT ${MAX_COUNTED + 1}) AS overdue`,
};

/** Ended tasks that are due for removal, MAX_COUNTED and one at most. */
export async function countOverdue(
  db: Queryable,
  days: number,
): Promise<{ readonly tasks: number; readonly oldestFinishedAt: Date | null }> {
  const [row] = await db.query<{ tasks: number; oldestFinishedAt: Date | null }>(OVERDUE, [days]);
  return row ?? { tasks: 0, oldestFinishedAt: null };
}
