import type { Queryable, Statement } from '../../database/queryable.js';

export interface HeldLease {
  readonly taskId: string;
  readonly leaseToken: string;
}

// A renewal revives an expired lease while its token is in the row, because nobody took it. The first to lock the row decides:
// the renewal or the reaper. Appends and ends need a lease that has not expired.

/**
 * Signs of life of many attempts in one statement. Rows locked by others are skipped, and tried again long before their lease
 * ends. `$3` seconds is the lease.
 */
const RENEW: Statement = {
  name: 'renew-leases',
  text: `WITH held AS MATERIALIZED (
      SELECT t.task_id FROM taskbridge.proj_tasks t JOIN unnest($1::uuid[], $2::text[]) AS h (task_id, lease_token)
        ON t.task_id = h.task_id AND t.lease_token = h.lease_token
      ORDER BY t.task_id FOR UPDATE OF t SKIP LOCKED
    )
    UPDATE taskbridge.proj_tasks t SET lease_expires_at = clock_timestamp() + make_interval(secs => $3)
    FROM held h WHERE t.task_id = h.task_id RETURNING t.lease_token`,
};

/** @returns the tokens of the leases that were renewed */
export async function renewLeases(
  db: Queryable,
  held: readonly HeldLease[],
  leaseSeconds: number,
): Promise<readonly string[]> {
  const tokens = held.map((h) => h.leaseToken);
  const rows = await db.query<{ lease_token: string }>(RENEW, [held.map((h) => h.taskId), tokens, leaseSeconds]);
  return rows.map((row) => row.lease_token);
}

export interface HeldState extends HeldLease {
  readonly cancellationRequested: boolean;
}

/** The leases, of these, that still hold their tasks, expired or not. Takes no lock. Index: the primary key. */
const CHECK: Statement = {
  name: 'check-leases',
  text: `SELECT t.task_id, t.lease_token, t.cancel_requested_at IS NOT NULL AS cancellation_requested
    FROM taskbridge.proj_tasks t JOIN unnest($1::uuid[], $2::text[]) AS h (task_id, lease_token)
      ON t.task_id = h.task_id AND t.lease_token = h.lease_token`,
};

export async function checkLeases(db: Queryable, held: readonly HeldLease[]): Promise<readonly HeldState[]> {
  const rows = await db.query<{ task_id: string; lease_token: string; cancellation_requested: boolean }>(CHECK, [
    held.map((h) => h.taskId),
    held.map((h) => h.leaseToken),
  ]);
  return rows.map((row) => ({
    taskId: row.task_id,
    leaseToken: row.lease_token,
    cancellationRequested: row.cancellation_requested,
  }));
}

export interface HeldTask {
  readonly tenantId: string;
  readonly ownerId: string;
}

const HELD = `t.task_id = $1 AND t.lease_token = $2 AND t.lease_expires_at > clock_timestamp() AND t.aside_code IS NULL`;

/** Index: the primary key. Takes no lock. */
const HELD_TASK: Statement = {
  name: 'held-task',
  text: `SELECT t.tenant_id AS "tenantId", t.owner_id AS "ownerId" FROM taskbridge.proj_tasks t WHERE ${HELD}`,
};

/** @returns undefined when the lease has expired or is over, or the task is set aside */
export async function heldTask(db: Queryable, held: HeldLease): Promise<HeldTask | undefined> {
  return (await db.query<HeldTask>(HELD_TASK, [held.taskId, held.leaseToken]))[0];
}

/** For a change of the task that is no event: its snapshot has another version. Locks the row. Index: the primary key. */
const TOUCH: Statement = {
  name: 'touch-held-task',
  text: `UPDATE taskbridge.proj_tasks t SET lease_expires_at = clock_timestamp() + make_interval(secs => $3),
      updated_at = clock_timestamp(), revision = t.revision + 1
    WHERE ${HELD}
    RETURNING to_char(t.lease_expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "leaseExpiresAt",
      t.cancel_requested_at IS NOT NULL AS "cancellationRequested"`,
};

/** @returns undefined when the lease has expired or is over, or the task is set aside: nothing may change then */
export async function touchHeldTask(
  tx: Queryable,
  held: HeldLease,
  leaseSeconds: number,
): Promise<Omit<RenewedLease, 'cancelReason'> | undefined> {
  const values = [held.taskId, held.leaseToken, leaseSeconds];
  return (await tx.query<Omit<RenewedLease, 'cancelReason'>>(TOUCH, values))[0];
}

export interface RenewedLease {
  readonly leaseExpiresAt: string;
  readonly cancellationRequested: boolean;
  readonly cancelReason: string | null;
}

/** One sign of life; waits for the row. Index: the primary key. `$3` seconds is the lease. */
const RENEW_ONE: Statement = {
  name: 'renew-lease',
  text: `UPDATE taskbridge.proj_tasks t SET lease_expires_at = clock_timestamp() + make_interval(secs => $3)
    WHERE t.task_id = $1 AND t.lease_token = $2
    RETURNING to_char(t.lease_expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS lease_expires_at,
      t.cancel_requested_at IS NOT NULL AS cancellation_requested, t.cancel_reason`,
};

/** @returns undefined when the lease was taken, or given back */
export async function renewLease(
  db: Queryable,
  held: HeldLease,
  leaseSeconds: number,
): Promise<RenewedLease | undefined> {
  type Row = { lease_expires_at: string; cancellation_requested: boolean; cancel_reason: string | null };
  const [row] = await db.query<Row>(RENEW_ONE, [held.taskId, held.leaseToken, leaseSeconds]);
  return (
    row && {
      leaseExpiresAt: row.lease_expires_at,
      cancellationRequested: row.cancellation_requested,
      cancelReason: row.cancel_reason,
    }
  );
}
