import { MAX_SHOWN_RERUNS } from '#protocol/limits.js';
import type { TaskStatus } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';

/**
 * The key of a tag that links a task to the one that it runs again. `rerun_of` has the link, and the tag finds it from the other end.
 * Where metadata has a member of this name, the tag alone says nothing.
 */
const LINK = 'taskbridge:rerunOf';

/** A column `reruns`: the tasks that run this `proj_tasks t` again. Index: the primary keys of tags and tasks. */
export const RERUNS = `ARRAY(SELECT again.task_id FROM taskbridge.proj_task_tags AS link
    JOIN taskbridge.proj_tasks AS again USING (task_id)
    WHERE link.tenant_id = t.tenant_id AND link.owner_id = t.owner_id AND link.key = '${LINK}' AND link.value = t.task_id::text
      AND again.rerun_of = t.task_id
    ORDER BY again.task_id DESC LIMIT ${MAX_SHOWN_RERUNS})::text[] AS reruns`;

/** What a task that is run again gives to the new one. */
export interface RerunSource {
  readonly status: TaskStatus;
  readonly isAside: boolean;
  readonly inputJson: string | null;
  readonly metadataJson: string | null;
}

/** Index: the primary key. Nobody removes the task until the transaction is over. */
const LOCK: Statement = {
  name: 'lock-rerun-source',
  text: `SELECT status, aside_code IS NOT NULL AS is_aside, input::text AS input, metadata::text AS metadata
    FROM taskbridge.proj_tasks WHERE task_id = $1 FOR NO KEY UPDATE`,
};

/** @returns undefined when there is no such task */
export async function lockRerunSource(tx: Queryable, taskId: string): Promise<RerunSource | undefined> {
  const [row] = await tx.query<{
    status: TaskStatus;
    is_aside: boolean;
    input: string | null;
    metadata: string | null;
  }>(LOCK, [taskId]);
  return row && { status: row.status, isAside: row.is_aside, inputJson: row.input, metadataJson: row.metadata };
}

/** Index: the primary keys. Both rows are locked: one is new. The snapshot of the other shows the link, so it has another version. */
const LINK_TASKS: Statement = {
  name: 'link-rerun',
  text: `WITH again AS (
      UPDATE taskbridge.proj_tasks SET rerun_of = $2 WHERE task_id = $1 RETURNING tenant_id, owner_id
    ), source AS (
      UPDATE taskbridge.proj_tasks SET revision = revision + 1 WHERE task_id = $2
    )
    INSERT INTO taskbridge.proj_task_tags (tenant_id, owner_id, key, value, task_id)
    SELECT tenant_id, owner_id, '${LINK}', $2::text, $1 FROM again ON CONFLICT DO NOTHING`,
};

export async function linkRerun(tx: Queryable, taskId: string, sourceId: string): Promise<void> {
  await tx.query(LINK_TASKS, [taskId, sourceId]);
}

/** Index: the primary key. Their events follow TASK_STARTED, and no attempt of the new task stored them. */
const KEEP_STEPS: Statement = {
  name: 'keep-steps',
  text: `INSERT INTO taskbridge.entries_steps (task_id, step_key, result, event_id, attempt)
    SELECT $1, step_key, result, 1 + row_number() OVER (ORDER BY event_id), 0
    FROM taskbridge.entries_steps WHERE task_id = $2 RETURNING step_key, event_id`,
};

/** Gives a new task the finished steps of another one. @returns their keys, in the order of the events that they need */
export async function keepSteps(tx: Queryable, taskId: string, sourceId: string): Promise<readonly string[]> {
  const rows = await tx.query<{ step_key: string; event_id: string }>(KEEP_STEPS, [taskId, sourceId]);
  return rows.toSorted((a, b) => Number(a.event_id) - Number(b.event_id)).map((row) => row.step_key);
}
