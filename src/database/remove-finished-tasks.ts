import type { ClientBase } from 'pg';
import { sqlStateOf } from './database.errors.js';

/** Events in one transaction, so that none lasts long; a single task may have more. */
const MAX_EVENTS = 20_000;
const MAX_TASKS = 500;
const MAX_AUDIT_ROWS = 5_000;
/** More than a year, for yearly reviews. */
const AUDIT_DAYS = 400;

/**
 * Index: proj_tasks_finished. Whole tasks, oldest first. A trigger removes what belongs to them, with the rights of this role, in
 * this statement: a reader sees a task with its whole log, or none of it. `$1` days after their end; a task that is not over has
 * no end.
 */
const REMOVE = `WITH old AS (
    SELECT task_id, sum(head_event_id) OVER (ORDER BY finished_at, task_id) - head_event_id AS events_before
    FROM (SELECT task_id, finished_at, head_event_id FROM taskbridge.proj_tasks
      WHERE finished_at <= clock_timestamp() - make_interval(days => $1)
      ORDER BY finished_at, task_id LIMIT $2) oldest
  ), task AS (
    DELETE FROM taskbridge.proj_tasks t USING old WHERE t.task_id = old.task_id AND old.events_before < $3
    RETURNING t.task_id
  )
  SELECT count(*)::int AS removed FROM task`;

/** Index: entries_audit_created. */
const REMOVE_AUDIT = `DELETE FROM taskbridge.entries_audit WHERE audit_id = ANY (ARRAY(
    SELECT audit_id FROM taskbridge.entries_audit WHERE created_at <= clock_timestamp() - make_interval(days => $1)
    ORDER BY created_at LIMIT $2))`;

const NOTE = 'SELECT taskbridge.note_retention($1, $2, $3)';
/** No such function: the online migration that makes it has not run. */
const NO_SUCH_FUNCTION = '42883';

/** Leaves a line in the audit, which operators read. A schema that has no way to leave one is no fault. */
export async function noteRetention(
  client: ClientBase,
  { days, tasks, auditEntries }: { readonly days: number; readonly tasks: number; readonly auditEntries: number },
): Promise<void> {
  await client.query(NOTE, [days, tasks, auditEntries]).catch((error: unknown) => {
    if (sqlStateOf(error) !== NO_SUCH_FUNCTION) throw error;
  });
}

/**
 * One bounded step, a transaction of its own.
 * @returns how many tasks are gone; 0 when none is old enough any more
 */
export async function removeFinishedTasks(client: ClientBase, retentionDays: number): Promise<number> {
  const { rows } = await client.query<{ removed: number }>(REMOVE, [retentionDays, MAX_TASKS, MAX_EVENTS]);
  return rows[0]?.removed ?? 0;
}

/**
 * One bounded step of the audit of operators, which outlives the tasks.
 * @returns how many rows are gone; 0 when none is old enough any more
 */
export async function removeOldAudit(client: ClientBase): Promise<number> {
  return (await client.query(REMOVE_AUDIT, [AUDIT_DAYS, MAX_AUDIT_ROWS])).rowCount ?? 0;
}
