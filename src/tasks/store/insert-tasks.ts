import type { Queryable, Statement } from '../../database/queryable.js';
import { type InsertOutcome, insertTask, type NewTaskRow, timedByDatabase } from './insert-task.js';

/**
 * The same as insert-task, for many tasks in one statement, which is a transaction. It counts each owner's open tasks once, and
 * the owner's new keys in the batch take the free places. The rows are in the order of the key, so two batches never deadlock.
 */
const INSERT: Statement = {
  name: 'insert-tasks',
  text: `WITH request AS (
      SELECT *, dense_rank() OVER (PARTITION BY tenant_id, owner_id ORDER BY client_request_id) AS place
      FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::json[], $9::json[], $10::uuid[],
        $11::text[], $12::text[]) AS r (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input, metadata,
        correlation_id, traceparent, content_fingerprint)
      WHERE NOT EXISTS (SELECT FROM taskbridge.proj_tasks t WHERE t.tenant_id = r.tenant_id AND t.owner_id = r.owner_id
        AND t.client_request_id = r.client_request_id)
    ), owner AS MATERIALIZED (
      SELECT tenant_id, owner_id, CASE WHEN $1::int IS NULL THEN 0 ELSE (
        SELECT count(*) FROM (SELECT FROM taskbridge.proj_tasks t
          WHERE t.tenant_id = o.tenant_id AND t.owner_id = o.owner_id AND finished_at IS NULL LIMIT $1) AS open) END AS open_tasks
      FROM (SELECT DISTINCT tenant_id, owner_id FROM request) AS o
    )
    INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input,
      metadata, correlation_id, traceparent, content_fingerprint, claimable_at)
    SELECT ${timedByDatabase('task_id')}, tenant_id, owner_id, client_request_id, fingerprint, task_type, input, metadata,
      correlation_id, traceparent, content_fingerprint, date_trunc('milliseconds', clock_timestamp())
    FROM request JOIN owner USING (tenant_id, owner_id) WHERE $1 IS NULL OR open_tasks + place <= $1
    ORDER BY tenant_id, owner_id, client_request_id
    ON CONFLICT (tenant_id, owner_id, client_request_id) DO NOTHING RETURNING task_id`,
};

/** One outcome for each task, in their order. Of equal tasks at most one is inserted. */
export async function insertTasks(
  db: Queryable,
  tasks: readonly NewTaskRow[],
  maxOpenTasks: number | null,
): Promise<readonly InsertOutcome[]> {
  const [only, ...more] = tasks;
  if (only && more.length === 0) return [await insertTask(db, only, maxOpenTasks)];
  const rows = await db.query<{ task_id: string }>(INSERT, [
    maxOpenTasks,
    tasks.map((task) => task.taskId),
    tasks.map((task) => task.tenantId),
    tasks.map((task) => task.ownerId),
    tasks.map((task) => task.clientRequestId),
    tasks.map((task) => task.fingerprint),
    tasks.map((task) => task.taskType),
    tasks.map((task) => task.inputJson),
    tasks.map((task) => task.metadataJson),
    tasks.map((task) => task.correlationId),
    tasks.map((task) => task.traceparent),
    tasks.map((task) => task.contentFingerprint),
  ]);
  const inserted = new Map(rows.map((row) => [randomPartOf(row.task_id), row.task_id]));
  return tasks.map((task) => {
    const taskId = inserted.get(randomPartOf(task.taskId));
    return taskId === undefined ? { outcome: 'passed_over' } : { outcome: 'inserted', taskId };
  });
}

/** What follows the time in a UUIDv7. */
function randomPartOf(taskId: string): string {
  return taskId.slice('01a20008-c848-'.length);
}
