import type { TaskStatus } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { Plan } from '../domain/plan.js';
import {
  BEGUN,
  CREATED,
  FIRST_ATTEMPT,
  FIRST_ATTEMPT_COLUMNS,
  type Holder,
  type Inserted,
  type InsertOutcome,
  nothingWaits,
  OFFSET,
  outcomeOf,
  PRIORITY,
} from './first-attempts.js';
import { HAS_ROOM } from './open-tasks.js';
import { lastPlaceOf } from './places.js';

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
  /** Of the first attempt, for which a place is kept. Absent: the task waits for a claim. */
  readonly leaseToken?: string;
  /** Absent: like any other, due at once. */
  readonly plan?: Plan | undefined;
}

/**
 * The UUIDv7 in `id` with the milliseconds of the database clock in its first six bytes. So the ids of all replicas are in the order
 * of one clock. uuidv7() needs PostgreSQL 18.
 */
export const timedByDatabase = (id: string) => `encode(overlay(uuid_send(${id}) PLACING
  substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1), 'hex')::uuid`;

/** The place in the queue of the first new task of `owner`, whose tasks may begin at `earliest`. */
export const placeOf = (owner: string, earliest: string) =>
  `greatest(${earliest} + ${OFFSET}, ${lastPlaceOf(owner, PRIORITY)} + 1)`;

/**
 * Indexes: proj_tasks_client_request and proj_tasks_places decide. The task is claimable from the commit on: the column's
 * milliseconds would be rounded into the future, and a claim that wakes at once would not find the task.
 */
const INSERT: Statement = {
  name: 'insert-task',
  text: `WITH created AS (
      INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input, metadata,
        correlation_id, traceparent, content_fingerprint, vtime, ${FIRST_ATTEMPT_COLUMNS})
      SELECT ${timedByDatabase('$4::uuid')}, tenant_id, owner_id, $5, $6, task_type, $8, $9, $10, $11, $12,
        ${placeOf('o', '$13::float8')}, ${FIRST_ATTEMPT}
      FROM (SELECT $2::text AS tenant_id, $3::text AS owner_id, $7::text AS task_type, $14::text AS lease_token) AS o
        CROSS JOIN LATERAL (SELECT (lease_token IS NOT NULL AND ${nothingWaits('o.task_type')})::int AS begins) AS attempt
      WHERE ${HAS_ROOM}
      ON CONFLICT (tenant_id, owner_id, client_request_id) DO NOTHING
      RETURNING ${CREATED}
    ), ${BEGUN}`,
};

/**
 * A statement that is a transaction of its own. `maxOpenTasks`: inserts only if the owner has fewer open tasks in this
 * statement's snapshot; null means no cap. Without a holder the task waits for a claim.
 */
export async function insertTask(
  db: Queryable,
  task: NewTaskRow,
  maxOpenTasks: number | null,
  holder?: Holder,
): Promise<InsertOutcome> {
  const [row] = await db.query<Inserted>(INSERT, [
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
    (holder && task.leaseToken) ?? null,
    holder?.leaseSeconds,
    holder?.workerId,
    holder?.principalId,
  ]);
  return outcomeOf(row);
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
