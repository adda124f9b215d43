import type { Queryable, Statement } from '../../database/queryable.js';
import type { TaskStatus } from '../domain/task.js';

export interface NewTaskRow {
  readonly taskId: string;
  readonly tenantId: string;
  readonly ownerId: string;
  readonly clientRequestId: string;
  readonly fingerprint: string;
  readonly taskType: string;
  readonly inputJson: string | null;
  readonly metadataJson: string | null;
  readonly correlationId: string;
  readonly traceparent: string;
}

/**
 * Index: proj_tasks_client_request decides. No row: the key is taken. The task is claimable from the commit on: the column's
 * milliseconds would be rounded into the future, and a worker that is told of the task at once would not find it.
 */
const INSERT: Statement = {
  name: 'insert-task',
  text: `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input,
      metadata, correlation_id, traceparent, claimable_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
      date_trunc('milliseconds', clock_timestamp()))
    ON CONFLICT (tenant_id, owner_id, client_request_id) DO NOTHING RETURNING task_id`,
};

/** A statement that is a transaction of its own. @returns whether the task is new */
export async function insertTask(db: Queryable, task: NewTaskRow): Promise<boolean> {
  const rows = await db.query(INSERT, [
    task.taskId,
    task.tenantId,
    task.ownerId,
    task.clientRequestId,
    task.fingerprint,
    task.taskType,
    task.inputJson,
    task.metadataJson,
    task.correlationId,
    task.traceparent,
  ]);
  return rows.length === 1;
}

export interface EarlierTask {
  readonly taskId: string;
  readonly fingerprint: string;
  readonly status: TaskStatus;
}

/** Index: proj_tasks_client_request. */
const FIND: Statement = {
  name: 'find-by-client-request',
  text: `SELECT task_id, fingerprint, status FROM taskbridge.proj_tasks
    WHERE tenant_id = $1 AND owner_id = $2 AND client_request_id = $3`,
};

export async function findByClientRequest(
  db: Queryable,
  key: { readonly tenantId: string; readonly ownerId: string; readonly clientRequestId: string },
): Promise<EarlierTask | undefined> {
  const [row] = await db.query<{ task_id: string; fingerprint: string; status: TaskStatus }>(FIND, [
    key.tenantId,
    key.ownerId,
    key.clientRequestId,
  ]);
  return row && { taskId: row.task_id, fingerprint: row.fingerprint, status: row.status };
}
