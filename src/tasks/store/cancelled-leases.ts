import type { Queryable, Statement } from '../../database/queryable.js';

/** A lease whose holder is asked to stop. */
export interface CancelledLease {
  readonly taskId: string;
  readonly taskType: string;
  readonly tenantId: string;
  readonly workerId: string;
  readonly attempt: number;
  readonly cancelReason: string;
}

/** Index: proj_tasks_leased. Takes no lock. */
const CANCELLED: Statement = {
  name: 'read-cancelled-leases',
  text: `SELECT t.task_id, t.task_type, t.tenant_id, t.worker_id, t.attempt, coalesce(t.cancel_reason, '') AS cancel_reason
    FROM taskbridge.proj_tasks t
    WHERE t.lease_token IS NOT NULL AND t.cancel_requested_at IS NOT NULL AND t.worker_id = ANY ($1::text[])
    ORDER BY t.task_id`,
};

/** The leases of these workers that are to end. */
export async function readCancelledLeases(
  db: Queryable,
  workerIds: readonly string[],
): Promise<readonly CancelledLease[]> {
  type Row = {
    task_id: string;
    task_type: string;
    tenant_id: string;
    worker_id: string;
    attempt: number;
    cancel_reason: string;
  };
  const rows = await db.query<Row>(CANCELLED, [workerIds]);
  return rows.map((row) => ({
    taskId: row.task_id,
    taskType: row.task_type,
    tenantId: row.tenant_id,
    workerId: row.worker_id,
    attempt: row.attempt,
    cancelReason: row.cancel_reason,
  }));
}
