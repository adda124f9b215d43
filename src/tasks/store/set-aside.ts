import type { Queryable, Statement } from '../../database/queryable.js';

/** `EVENT_ABOVE_HEAD`: the log has events above the task's head. `STATE_INVALID`: no log leads to this row. */
export type AsideCode = 'EVENT_ABOVE_HEAD' | 'STATE_INVALID' | 'NOT_WRITABLE';

/** Index: the primary key of events. Which of these tasks have events after their last one. */
const ABOVE_HEAD: Statement = {
  name: 'tasks-with-events-above-head',
  text: `SELECT t.task_id FROM taskbridge.proj_tasks t WHERE t.task_id = ANY ($1::uuid[])
    AND EXISTS (SELECT FROM taskbridge.events e WHERE e.task_id = t.task_id AND e.event_id > t.head_event_id)`,
};

export async function tasksWithEventsAboveHead(
  db: Queryable,
  taskIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await db.query<{ task_id: string }>(ABOVE_HEAD, [taskIds]);
  return new Set(rows.map((row) => row.task_id));
}

/** A number at its limit would fail here, and then the task could not be set aside either. */
export const NEXT_REVISION = `CASE WHEN t.revision BETWEEN 0 AND 1000000000000 THEN t.revision + 1 ELSE 0 END`;

/**
 * The caller holds the locks of the rows. The columns that find a task become null; its log has their origin. The first code
 * stays.
 */
const SET_ASIDE: Statement = {
  name: 'set-aside',
  text: `UPDATE taskbridge.proj_tasks t SET aside_code = coalesce(t.aside_code, a.code), claimable_at = NULL, lease_token = NULL, hold_key = NULL,
      lease_expires_at = NULL, worker_id = NULL, suspend_id = NULL, suspend_expires_at = NULL, finished_at = NULL,
      updated_at = clock_timestamp(), revision = ${NEXT_REVISION}
    FROM unnest($1::uuid[], $2::text[]) AS a (task_id, code) WHERE t.task_id = a.task_id`,
};

export async function setAside(
  tx: Queryable,
  tasks: readonly { readonly taskId: string; readonly code: AsideCode }[],
): Promise<void> {
  await tx.query(SET_ASIDE, [tasks.map(({ taskId }) => taskId), tasks.map(({ code }) => code)]);
}
