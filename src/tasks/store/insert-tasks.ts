import type { Queryable, Statement } from '../../database/queryable.js';
import {
  BEGUN,
  CREATED,
  FIRST_ATTEMPT,
  FIRST_ATTEMPT_COLUMNS,
  type Holder,
  type Inserted,
  type InsertOutcome,
  nothingWaits,
  outcomeOf,
  roomWithin,
} from './first-attempts.js';
import { insertTask, type NewTaskRow, placeOf, timedByDatabase } from './insert-task.js';

/**
 * The same as insert-task, for many tasks in one statement, which is a transaction. It counts each owner's open tasks once, and
 * the owner's new keys in the batch take the free places. In the queue, an owner's tasks follow each other. The rows are in the order of the key, so two batches never deadlock.
 */
const insertOf = (name: string, limits?: string): Statement => ({
  name,
  text: `WITH request AS (
      SELECT *, dense_rank() OVER (PARTITION BY tenant_id, owner_id ORDER BY client_request_id) AS place
      FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::json[], $9::json[], $10::uuid[],
        $11::text[], $12::text[], $13::float8[], $14::text[]) WITH ORDINALITY AS r (task_id, tenant_id, owner_id, client_request_id,
        fingerprint, task_type, input, metadata, correlation_id, traceparent, content_fingerprint, earliest_place, lease_token, position)
      WHERE NOT EXISTS (SELECT FROM taskbridge.proj_tasks t WHERE t.tenant_id = r.tenant_id AND t.owner_id = r.owner_id
        AND t.client_request_id = r.client_request_id)
    ), owner AS MATERIALIZED (
      SELECT tenant_id, owner_id, CASE WHEN $1::int IS NULL THEN 0 ELSE (
        SELECT count(*) FROM (SELECT FROM taskbridge.proj_tasks t
          WHERE t.tenant_id = o.tenant_id AND t.owner_id = o.owner_id AND finished_at IS NULL LIMIT $1) AS open) END AS open_tasks
      FROM (SELECT DISTINCT tenant_id, owner_id FROM request) AS o
    ), line AS MATERIALIZED (
      SELECT o.*, ${placeOf('o', 'o.earliest_place')} AS next
      FROM (SELECT tenant_id, owner_id, task_type, max(earliest_place) AS earliest_place FROM request
        GROUP BY tenant_id, owner_id, task_type) AS o
    ), idle AS MATERIALIZED (
      SELECT of_type.task_type FROM (SELECT DISTINCT task_type FROM request WHERE lease_token IS NOT NULL) AS of_type
      WHERE ${nothingWaits('of_type.task_type')}
    ), ${limits ? `${roomWithin(limits)}, ` : ''}created AS (
      INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input, metadata,
        correlation_id, traceparent, content_fingerprint, vtime, ${FIRST_ATTEMPT_COLUMNS})
      SELECT ${timedByDatabase('task_id')}, tenant_id, owner_id, client_request_id, fingerprint, task_type, input, metadata,
        correlation_id, traceparent, content_fingerprint,
        next - 1 + row_number() OVER (PARTITION BY tenant_id, owner_id, task_type ORDER BY position),
        ${FIRST_ATTEMPT}
      FROM request JOIN owner USING (tenant_id, owner_id) JOIN line USING (tenant_id, owner_id, task_type) CROSS JOIN LATERAL (
        SELECT (lease_token IS NOT NULL AND task_type IN (SELECT task_type FROM idle)
          ${limits ? 'AND (SELECT is_free FROM room)' : ''})::int AS begins) AS attempt
      WHERE $1 IS NULL OR open_tasks + place <= $1
      ORDER BY tenant_id, owner_id, client_request_id
      ON CONFLICT (tenant_id, owner_id, client_request_id) DO NOTHING
      RETURNING ${CREATED}
    ), ${BEGUN}`,
});

const INSERT = insertOf('insert-tasks');
const INSERT_WITHIN_LIMITS = insertOf('insert-tasks-within-limits', '$18');

/** One outcome for each task, in their order. Of equal tasks at most one is inserted. Without a holder all of them wait. */
export async function insertTasks(
  db: Queryable,
  tasks: readonly NewTaskRow[],
  maxOpenTasks: number | null,
  holder?: Holder,
): Promise<readonly InsertOutcome[]> {
  const [only, ...more] = tasks;
  const limits = holder?.limits;
  if (only && more.length === 0 && !limits) return [await insertTask(db, only, maxOpenTasks, holder)];
  const rows = await db.query<Inserted>(limits ? INSERT_WITHIN_LIMITS : INSERT, [
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
    tasks.map((task) => (holder && task.leaseToken) ?? null),
    holder?.leaseSeconds,
    holder?.workerId,
    holder?.principalId,
    ...(limits ? [JSON.stringify(limits)] : []),
  ]);
  const inserted = new Map(rows.map((row) => [randomPartOf(row.task_id), row]));
  return tasks.map((task) => outcomeOf(inserted.get(randomPartOf(task.taskId))));
}

/** What follows the time in a UUIDv7. */
export function randomPartOf(taskId: string): string {
  return taskId.slice('01a20008-c848-'.length);
}
