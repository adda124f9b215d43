import type { TaskStatus } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { Plan } from '../domain/plan.js';
import { HAS_ROOM } from './open-tasks.js';
import { lastPlaceOf, offsetOf } from './places.js';

export interface NewTaskRow {
  /** A UUIDv7 of this process. The task gets its random part, and the time of the database. */
  readonly taskId: string;
  readonly tenantId: string;
  readonly ownerId: string;
  readonly clientRequestId: string;
  readonly fingerprint: string;
  readonly contentFingerprint: string;
  readonly taskType: string;
  readonly inputJson: string | null;
  readonly metadataJson: string | null;
  readonly correlationId: string;
  readonly traceparent: string;
  /** The lowest place in the queue that it may get, without the offset of its priority. */
  readonly earliestPlace: number;
  /** Absent: like any other, due at once. */
  readonly plan?: Plan | undefined;
}

/** `place`: without the offset of its priority; null: it is not due. `passed_over`: the key is taken, or the owner has no room. */
export type InsertOutcome =
  | { readonly outcome: 'inserted'; readonly taskId: string; readonly place: number | null }
  | { readonly outcome: 'passed_over' };

/**
 * The UUIDv7 in `id` with the milliseconds of the database clock in its first six bytes. So the ids of all replicas are in the order
 * of one clock. uuidv7() needs PostgreSQL 18.
 */
export const timedByDatabase = (id: string) => `encode(overlay(uuid_send(${id}) PLACING
  substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1), 'hex')::uuid`;

/** Of a task whose create names none: the column's default. */
const PRIORITY = '5';
const OFFSET = offsetOf(PRIORITY);

/** The place in the queue of the first new task of `owner`, whose tasks may begin at `earliest`. */
export const placeOf = (owner: string, earliest: string) =>
  `greatest(${earliest} + ${OFFSET}, ${lastPlaceOf(owner, PRIORITY)} + 1)`;

/** What an INSERT returns of a task. */
export const INSERTED = `task_id, vtime - ${OFFSET} AS place`;

/**
 * Indexes: proj_tasks_client_request and proj_tasks_places decide. The task is claimable from the commit on: the column's
 * milliseconds would be rounded into the future, and a claim that wakes at once would not find the task.
 */
const INSERT: Statement = {
  name: 'insert-task',
  text: `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input,
      metadata, correlation_id, traceparent, content_fingerprint, claimable_at, vtime)
    SELECT ${timedByDatabase('$4::uuid')}, o.tenant_id, o.owner_id, $5, $6, o.task_type, $8, $9, $10, $11, $12,
      date_trunc('milliseconds', clock_timestamp()), ${placeOf('o', '$13::float8')}
    FROM (SELECT $2::text AS tenant_id, $3::text AS owner_id, $7::text AS task_type) AS o
    WHERE ${HAS_ROOM}
    ON CONFLICT (tenant_id, owner_id, client_request_id) DO NOTHING RETURNING ${INSERTED}`,
};

/**
 * A statement that is a transaction of its own. `maxOpenTasks`: inserts only if the owner has fewer open tasks in this
 * statement's snapshot; null means no cap.
 */
export async function insertTask(db: Queryable, task: NewTaskRow, maxOpenTasks: number | null): Promise<InsertOutcome> {
  const [row] = await db.query<{ task_id: string; place: number }>(INSERT, [
    maxOpenTasks,
    task.tenantId,
    task.ownerId,
    task.taskId,
    task.clientRequestId,
    task.fingerprint,
    task.taskType,
    task.inputJson,
    task.metadataJson,
    task.correlationId,
    task.traceparent,
    task.contentFingerprint,
    task.earliestPlace,
  ]);
  return row ? { outcome: 'inserted', taskId: row.task_id, place: row.place } : { outcome: 'passed_over' };
}

export interface EarlierTask {
  readonly taskId: string;
  /** Null in a row of release 0.1.0, or of SQL. */
  readonly contentFingerprint: string | null;
  readonly status: TaskStatus;
}

/** Index: proj_tasks_client_request. */
const FIND: Statement = {
  name: 'find-by-client-request',
  text: `SELECT task_id, content_fingerprint, status FROM taskbridge.proj_tasks
    WHERE tenant_id = $1 AND owner_id = $2 AND client_request_id = $3`,
};

export async function findByClientRequest(
  db: Queryable,
  key: { readonly tenantId: string; readonly ownerId: string; readonly clientRequestId: string },
): Promise<EarlierTask | undefined> {
  const [row] = await db.query<{ task_id: string; content_fingerprint: string | null; status: TaskStatus }>(FIND, [
    key.tenantId,
    key.ownerId,
    key.clientRequestId,
  ]);
  return row && { taskId: row.task_id, contentFingerprint: row.content_fingerprint, status: row.status };
}
