import type { Queryable, Statement } from '../../database/queryable.js';
import { leaseSecondsOf } from '../domain/lease-token.js';

export interface HeldLease {
  readonly taskId: string;
  readonly leaseToken: string;
}

// A renewal revives an expired lease while its token is in the row, because nobody took it. The first to lock the row decides:
// the renewal or the reaper. Appends and ends need a lease that has not expired.

/** Whose leases a caller may extend. Absent members: all. */
export interface Reach {
  readonly types?: readonly string[];
  readonly tenants?: readonly string[];
}

/** `lost`: also beyond the reach. */
export type Renewal = (RenewedLease & { readonly outcome: 'renewed' }) | { readonly outcome: 'lost' | 'aside' };
/** Another session changes the task now. */
interface Locked {
  readonly outcome: 'locked';
}

const RENEWED = `to_char(t.lease_expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS lease_expires_at,
  t.cancel_requested_at IS NOT NULL AS cancellation_requested, t.cancel_reason`;

/** Signs of life of many attempts in one statement. Rows locked by others are skipped. Index: the primary key. */
const RENEW: Statement = {
  name: 'renew-leases',
  text: `WITH asked AS MATERIALIZED (
      SELECT a.*, t.lease_token = a.lease_token AS is_held, t.aside_code
      FROM unnest($1::uuid[], $2::text[], $3::float8[]) AS a (task_id, lease_token, seconds)
      LEFT JOIN taskbridge.proj_tasks t ON t.task_id = a.task_id
        AND ($4::text[] IS NULL OR t.task_type = ANY ($4)) AND ($5::text[] IS NULL OR t.tenant_id = ANY ($5))
    ), held AS MATERIALIZED (
      SELECT t.task_id FROM taskbridge.proj_tasks t
      WHERE t.task_id IN (SELECT a.task_id FROM asked a WHERE a.is_held) ORDER BY t.task_id FOR UPDATE SKIP LOCKED
    ), renewed AS (
      UPDATE taskbridge.proj_tasks t SET lease_expires_at = clock_timestamp() + make_interval(secs => a.seconds)
      FROM held h JOIN asked a USING (task_id) WHERE t.task_id = h.task_id AND t.lease_token = a.lease_token
      RETURNING t.task_id, t.lease_token, ${RENEWED}
    )
    SELECT a.task_id, a.lease_token, a.is_held, a.aside_code, r.lease_expires_at, r.cancellation_requested, r.cancel_reason
    FROM asked a LEFT JOIN renewed r USING (task_id, lease_token)`,
};

/** One outcome for each lease, in their order. `leaseSeconds`: of tokens that name no length. */
export async function renewLeases(
  db: Queryable,
  held: readonly HeldLease[],
  leaseSeconds: number,
  { types, tenants }: Reach = {},
): Promise<readonly (Renewal | Locked)[]> {
  type Found = { task_id: string; lease_token: string; is_held: boolean | null; aside_code: string | null };
  type Row = Found & (RenewedRow | { lease_expires_at: null });
  const rows = await db.query<Row>(RENEW, [
    held.map((h) => h.taskId),
    held.map((h) => h.leaseToken),
    held.map((h) => leaseSecondsOf(h.leaseToken) ?? leaseSeconds),
    types ?? null,
    tenants ?? null,
  ]);
  const found = new Map(rows.map((row) => [`${row.task_id} ${row.lease_token}`, row]));
  return held.map((h) => {
    const row = found.get(`${h.taskId} ${h.leaseToken}`);
    if (row && row.lease_expires_at !== null) return { outcome: 'renewed', ...renewedLease(row) };
    if (row?.is_held) return { outcome: 'locked' };
    return { outcome: (row?.aside_code ?? null) === null ? 'lost' : 'aside' };
  });
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

/**
 * `leaseSeconds`: of a token that names no length.
 * @returns undefined when the lease has expired or is over, or the task is set aside: nothing may change then
 */
export async function touchHeldTask(
  tx: Queryable,
  held: HeldLease,
  leaseSeconds: number,
): Promise<Omit<RenewedLease, 'cancelReason'> | undefined> {
  const values = [held.taskId, held.leaseToken, leaseSecondsOf(held.leaseToken) ?? leaseSeconds];
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
    RETURNING ${RENEWED}`,
};

interface RenewedRow {
  lease_expires_at: string;
  cancellation_requested: boolean;
  cancel_reason: string | null;
}

/** @returns undefined when the lease was taken, or given back. `leaseSeconds`: of a token that names no length. */
export async function renewLease(
  db: Queryable,
  held: HeldLease,
  leaseSeconds: number,
): Promise<RenewedLease | undefined> {
  const seconds = leaseSecondsOf(held.leaseToken) ?? leaseSeconds;
  const [row] = await db.query<RenewedRow>(RENEW_ONE, [held.taskId, held.leaseToken, seconds]);
  return row && renewedLease(row);
}

function renewedLease(row: RenewedRow): RenewedLease {
  return {
    leaseExpiresAt: row.lease_expires_at,
    cancellationRequested: row.cancellation_requested,
    cancelReason: row.cancel_reason,
  };
}
