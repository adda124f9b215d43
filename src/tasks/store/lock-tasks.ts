import type { Attachment } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { JsonText } from '../../json/json-text.js';
import { attachmentsOf } from './attachments.js';
import { jsonTextIn, TASK_COLUMNS, taskRecord, type TaskRecord, type TaskRow } from './task-row.js';

// Every change of a task begins with the lock of its row, so ids are given out one writer at a time. Statements that lock several
// rows take them in task-id order and skip rows locked by others. So no session waits while it holds a lock.

const BY_ID: Statement = {
  name: 'lock-task',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t WHERE t.task_id = $1 FOR UPDATE`,
};

/** Waits for the row. Empty when there is no such task. */
export async function lockTask(tx: Queryable, taskId: string): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(BY_ID, [taskId])).map(taskRecord);
}

/** A waiting task, with the facts for its handler. */
export interface ClaimableRecord extends TaskRecord {
  readonly input: JsonText | null;
  readonly metadata: JsonText | null;
  readonly attachments: readonly Attachment[];
  readonly waitedSeconds: number;
  /** By the database clock, in seconds since 1970. */
  readonly claimedAt: number;
  /** Whether its owner has another task of these types that waits. */
  readonly ownerHasMore: boolean;
  /** When a lease that begins now ends, by the database clock. */
  readonly leaseExpiresAt: string;
}

/** The last turn of an owner; `at` as `claimedAt`. */
export interface ServedOwner {
  readonly tenantId: string;
  readonly ownerId: string;
  readonly at: number;
}

/**
 * Oldest first, going round the owners: each owner's oldest task comes before any owner's second oldest. So a thousand waiting
 * tasks of one owner do not delay the single task of another. The same holds between claims: after its turn (`$4` to `$6`) an
 * owner's next task counts as created at that turn. The statement skips from owner to owner in proj_tasks_claimable_by_owner, and
 * locks the next tasks one by one until there are enough. So its cost depends on the number of owners and `$2`, not on the length
 * of the queue.
 */
const CLAIMABLE: Statement = {
  name: 'lock-claimable-tasks',
  text: `WITH RECURSIVE owner AS (
      (SELECT tenant_id, owner_id FROM taskbridge.proj_tasks WHERE claimable_at IS NOT NULL
        ORDER BY tenant_id, owner_id LIMIT 1)
      UNION ALL
      SELECT following.tenant_id, following.owner_id FROM owner CROSS JOIN LATERAL (
        SELECT t.tenant_id, t.owner_id FROM taskbridge.proj_tasks t
        WHERE t.claimable_at IS NOT NULL AND (t.tenant_id, t.owner_id) > (owner.tenant_id, owner.owner_id)
        ORDER BY t.tenant_id, t.owner_id LIMIT 1) following
    ), served AS (
      SELECT * FROM unnest($4::text[], $5::text[], $6::float8[]) AS s (tenant_id, owner_id, at)
    ), turn AS (
      SELECT waiting.task_id, greatest(waiting.claimable_at, to_timestamp(served.at)) AS since, waiting.turn, waiting.more
      FROM owner LEFT JOIN served USING (tenant_id, owner_id) CROSS JOIN LATERAL (
        SELECT t.task_id, t.claimable_at, row_number() OVER (ORDER BY t.claimable_at, t.task_id) AS turn,
          lead(true, 1, false) OVER (ORDER BY t.claimable_at, t.task_id) AS more
        FROM taskbridge.proj_tasks t
        WHERE t.tenant_id = owner.tenant_id AND t.owner_id = owner.owner_id
          AND t.claimable_at <= clock_timestamp() AND t.task_type = ANY ($1::text[])
        ORDER BY t.claimable_at, t.task_id LIMIT $2 * 2) waiting
      WHERE $7::text[] IS NULL OR owner.tenant_id = ANY ($7)
    ), claimed AS (
      SELECT task.*, line.more AS owner_has_more
      FROM (SELECT * FROM turn ORDER BY turn.turn, turn.since, turn.task_id) AS line CROSS JOIN LATERAL (
        SELECT ${TASK_COLUMNS}, t.input::text AS input, t.metadata::text AS metadata,
          extract(epoch FROM clock_timestamp() - greatest(t.claimable_at, t.created_at))::float8 AS waited_seconds,
          extract(epoch FROM clock_timestamp())::float8 AS claimed_at,
          to_char((clock_timestamp() + make_interval(secs => $3)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
            AS lease_expires_at
        FROM taskbridge.proj_tasks t WHERE t.task_id = line.task_id AND t.claimable_at <= clock_timestamp()
        FOR UPDATE SKIP LOCKED) AS task
      LIMIT $2
    )
    SELECT claimed.*, ${attachmentsOf('claimed.task_id')} FROM claimed`,
};

export async function lockClaimableTasks(
  tx: Queryable,
  /** Without tenants: of all. */
  { taskTypes, tenants }: { readonly taskTypes: readonly string[]; readonly tenants?: readonly string[] | undefined },
  limit: number,
  leaseSeconds: number,
  served: readonly ServedOwner[],
): Promise<readonly ClaimableRecord[]> {
  type Row = TaskRow & {
    input: string | null;
    metadata: string | null;
    attachments: readonly Attachment[] | null;
    waited_seconds: number;
    claimed_at: number;
    owner_has_more: boolean;
    lease_expires_at: string;
  };
  const rows = await tx.query<Row>(CLAIMABLE, [
    taskTypes,
    limit,
    leaseSeconds,
    served.map((owner) => owner.tenantId),
    served.map((owner) => owner.ownerId),
    served.map((owner) => owner.at),
    tenants ?? null,
  ]);
  return rows.map((row) => ({
    ...taskRecord(row),
    input: jsonTextIn(row.input),
    metadata: jsonTextIn(row.metadata),
    attachments: row.attachments ?? [],
    waitedSeconds: row.waited_seconds,
    claimedAt: row.claimed_at,
    ownerHasMore: row.owner_has_more,
    leaseExpiresAt: row.lease_expires_at,
  }));
}

/** Index: proj_tasks_claimable_by_type. The types, of these, that have a claimable task now. Takes no lock. */
const WAITING_TYPES: Statement = {
  name: 'waiting-task-types',
  text: `SELECT wanted.task_type FROM unnest($1::text[]) AS wanted (task_type) WHERE EXISTS (
      SELECT FROM taskbridge.proj_tasks t
      WHERE t.task_type = wanted.task_type AND t.claimable_at <= clock_timestamp())`,
};

export async function waitingTaskTypes(db: Queryable, taskTypes: readonly string[]): Promise<readonly string[]> {
  return (await db.query<{ task_type: string }>(WAITING_TYPES, [taskTypes])).map((row) => row.task_type);
}

/**
 * Index: proj_tasks_leased. A lease without an end counts as expired. With `$1` true every lease does, for the only process on a
 * database.
 */
const EXPIRED: Statement = {
  name: 'lock-expired-leases',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.lease_token IS NOT NULL AND (coalesce(t.lease_expires_at <= clock_timestamp(), true) OR $1)
    ORDER BY t.task_id LIMIT $2 FOR UPDATE SKIP LOCKED`,
};

export async function lockExpiredLeases(tx: Queryable, every: boolean, limit: number): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(EXPIRED, [every, limit])).map(taskRecord);
}

/** Index: proj_tasks_suspended. Questions without an answer in time. */
const UNANSWERED: Statement = {
  name: 'lock-expired-suspensions',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t WHERE t.suspend_expires_at <= clock_timestamp()
    ORDER BY t.task_id LIMIT $1 FOR UPDATE SKIP LOCKED`,
};

export async function lockExpiredSuspensions(tx: Queryable, limit: number): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(UNANSWERED, [limit])).map(taskRecord);
}

/** Index: proj_tasks_leased. Tasks whose holder was asked to stop longer ago than `$1` seconds. */
const OVERDUE: Statement = {
  name: 'lock-overdue-cancellations',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.lease_token IS NOT NULL AND t.cancel_requested_at <= clock_timestamp() - make_interval(secs => $1)
    ORDER BY t.task_id LIMIT $2 FOR UPDATE SKIP LOCKED`,
};

export async function lockOverdueCancellations(
  tx: Queryable,
  graceSeconds: number,
  limit: number,
): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(OVERDUE, [graceSeconds, limit])).map(taskRecord);
}

/**
 * Index: proj_tasks_unattended. Tasks that are not over, and that no executor would ever continue. Tasks that a later release holds back
 * by a limit, or gave to an engine, look the same, and are none of them.
 */
const UNATTENDED: Statement = {
  name: 'lock-unattended-tasks',
  text: `SELECT ${TASK_COLUMNS} FROM taskbridge.proj_tasks t
    WHERE t.finished_at IS NULL AND t.claimable_at IS NULL AND t.lease_token IS NULL AND t.suspend_id IS NULL
      AND t.aside_code IS NULL AND t.hold_key IS NULL AND t.engine_token IS NULL AND t.executor = 'lease'
    ORDER BY t.task_id LIMIT $1 FOR UPDATE SKIP LOCKED`,
};

export async function lockUnattendedTasks(tx: Queryable, limit: number): Promise<readonly TaskRecord[]> {
  return (await tx.query<TaskRow>(UNATTENDED, [limit])).map(taskRecord);
}
