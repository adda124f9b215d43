import type { ClientBase } from 'pg';

/** Events in one transaction, so that none lasts long; a single task may have more. */
const MAX_EVENTS = 20_000;
const MAX_TASKS = 500;

/**
 * Index: proj_tasks_finished. Whole tasks, oldest first, with everything that belongs to them, in one statement: a reader sees a
 * task with its whole log, or none of it. `$1` days after their end; a task that is not over has no end.
 */
const REMOVE = `WITH old AS (
    SELECT task_id, sum(head_event_id) OVER (ORDER BY finished_at, task_id) - head_event_id AS events_before
    FROM (SELECT task_id, finished_at, head_event_id FROM taskbridge.proj_tasks
      WHERE finished_at <= clock_timestamp() - make_interval(days => $1)
      ORDER BY finished_at, task_id LIMIT $2) oldest
  ), task AS (
    DELETE FROM taskbridge.proj_tasks t USING old WHERE t.task_id = old.task_id AND old.events_before < $3
    RETURNING t.task_id
  ), event AS (
    DELETE FROM taskbridge.events e USING task WHERE e.task_id = task.task_id
  ), suspension AS (
    DELETE FROM taskbridge.proj_suspensions s USING task WHERE s.task_id = task.task_id
  ), attachment AS (
    DELETE FROM taskbridge.proj_attachments a USING task WHERE a.task_id = task.task_id
  ), receipt AS (
    DELETE FROM taskbridge.entries_action_receipts r USING task WHERE r.task_id = task.task_id
  ), ending AS (
    DELETE FROM taskbridge.entries_lease_endings l USING task WHERE l.task_id = task.task_id
  )
  SELECT count(*)::int AS removed FROM task`;

/**
 * One bounded step, a transaction of its own.
 * @returns how many tasks are gone; 0 when none is old enough any more
 */
export async function removeFinishedTasks(client: ClientBase, retentionDays: number): Promise<number> {
  const { rows } = await client.query<{ removed: number }>(REMOVE, [retentionDays, MAX_TASKS, MAX_EVENTS]);
  return rows[0]?.removed ?? 0;
}
