import type { Queryable, Statement } from '../../database/queryable.js';
import type { InsertOutcome } from './first-attempts.js';
import { insertTask, type NewTaskRow, timedByDatabase } from './insert-task.js';
import { randomPartOf } from './insert-tasks.js';
import { lastPlaceOf, offsetOf } from './places.js';

/**
 * The same as insert-tasks, for tasks with a plan: other tasks do not pay for it. Their moments are those of the database. A task that
 * is not due gets its place when it is.
 */
const INSERT: Statement = {
  name: 'insert-planned-tasks',
  text: `WITH request AS (
      SELECT r.*, coalesce(plan.priority, 5) AS priority, plan.max_attempts, plan.deadline, plan.start_seconds, plan.finish_seconds,
        plan.concurrency_key, plan.rate_key,
        dense_rank() OVER (PARTITION BY tenant_id, owner_id ORDER BY client_request_id) AS rank,
        date_trunc('milliseconds', greatest(clock_timestamp(), plan.start_after,
          clock_timestamp() + make_interval(secs => plan.delay_seconds))) AS due_at
      FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::json[], $9::json[], $10::uuid[],
        $11::text[], $12::text[], $13::float8[], $14::json[]) WITH ORDINALITY AS r (task_id, tenant_id, owner_id, client_request_id,
        fingerprint, task_type, input, metadata, correlation_id, traceparent, content_fingerprint, earliest_place, plan, position)
      CROSS JOIN LATERAL (SELECT (plan ->> 'priority')::smallint AS priority, (plan ->> 'maxAttempts')::int AS max_attempts,
        (plan ->> 'startAfter')::timestamptz AS start_after, (plan ->> 'delaySeconds')::float8 AS delay_seconds,
        (plan ->> 'deadline')::timestamptz AS deadline, (plan ->> 'startSeconds')::float8 AS start_seconds,
        (plan ->> 'finishSeconds')::float8 AS finish_seconds, plan ->> 'concurrencyKey' AS concurrency_key,
        plan ->> 'rateKey' AS rate_key) AS plan
      WHERE NOT EXISTS (SELECT FROM taskbridge.proj_tasks t WHERE t.tenant_id = r.tenant_id AND t.owner_id = r.owner_id
        AND t.client_request_id = r.client_request_id)
    ), owner AS MATERIALIZED (
      SELECT tenant_id, owner_id, CASE WHEN $1::int IS NULL THEN 0 ELSE (
        SELECT count(*) FROM (SELECT FROM taskbridge.proj_tasks t
          WHERE t.tenant_id = o.tenant_id AND t.owner_id = o.owner_id AND finished_at IS NULL LIMIT $1) AS open) END AS open_tasks
      FROM (SELECT DISTINCT tenant_id, owner_id FROM request) AS o
    ), line AS MATERIALIZED (
      SELECT o.*, greatest(o.earliest_place + ${offsetOf('o.priority')}, ${lastPlaceOf('o', 'o.priority')} + 1) AS next
      FROM (SELECT tenant_id, owner_id, task_type, priority, max(earliest_place) AS earliest_place FROM request
        GROUP BY tenant_id, owner_id, task_type, priority) AS o
    )
    INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input,
      metadata, correlation_id, traceparent, content_fingerprint, claimable_at, vtime, priority, max_attempts, deadline_at,
      start_deadline_at, concurrency_key, rate_key)
    SELECT ${timedByDatabase('task_id')}, tenant_id, owner_id, client_request_id, fingerprint, task_type, input, metadata,
      correlation_id, traceparent, content_fingerprint, due_at, CASE WHEN due_at <= clock_timestamp() THEN
        next - 1 + row_number() OVER (PARTITION BY tenant_id, owner_id, task_type, priority ORDER BY position) END,
      priority, max_attempts, least(deadline, due_at + make_interval(secs => finish_seconds)),
      due_at + make_interval(secs => start_seconds), concurrency_key, rate_key
    FROM request JOIN owner USING (tenant_id, owner_id) JOIN line USING (tenant_id, owner_id, task_type, priority)
    WHERE $1 IS NULL OR open_tasks + rank <= $1
    ORDER BY tenant_id, owner_id, client_request_id
    ON CONFLICT (tenant_id, owner_id, client_request_id) DO NOTHING
    RETURNING task_id, vtime - ${offsetOf('priority')} AS place`,
};

/** A task with a plan or without one. Another transaction of its own claims it. */
export async function insertOne(db: Queryable, task: NewTaskRow, maxOpenTasks: number | null): Promise<InsertOutcome> {
  if (!task.plan) return insertTask(db, task, maxOpenTasks);
  const [inserted = { outcome: 'passed_over' }] = await insertPlannedTasks(db, [task], maxOpenTasks);
  return inserted;
}

/** One outcome for each task, in their order. Of equal tasks at most one is inserted. */
export async function insertPlannedTasks(
  db: Queryable,
  tasks: readonly NewTaskRow[],
  maxOpenTasks: number | null,
): Promise<readonly InsertOutcome[]> {
  const rows = await db.query<{ task_id: string; place: number | null }>(INSERT, [
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
    tasks.map((task) => task.earliestPlace),
    tasks.map((task) => JSON.stringify(task.plan ?? {})),
  ]);
  const inserted = new Map(rows.map((row) => [randomPartOf(row.task_id), row]));
  return tasks.map((task) => {
    const row = inserted.get(randomPartOf(task.taskId));
    return row
      ? { outcome: 'inserted', taskId: row.task_id, place: row.place, begun: null }
      : { outcome: 'passed_over' };
  });
}
