import { type BulkKind, MAX_SHOWN_BULK_TASKS } from '#protocol/bulk.js';
import type { TaskStatus } from '#protocol/snapshots.js';
import type { StoredPrincipal } from '../auth/stored-principal.js';
import type { Queryable, Statement } from '../database/queryable.js';

// Index of all of these, unless they say otherwise: the primary keys of proj_bulk_runs and proj_bulk_run_tasks.

/** Whose tasks a filter matches, and which. */
export interface BulkFilter {
  readonly tenantId: string;
  readonly ownerId: string;
  readonly status?: TaskStatus;
  readonly taskType?: string;
  readonly suspended?: boolean;
}

export interface StoredBulk {
  readonly bulkId: string;
  readonly kind: BulkKind;
  /** What was asked for. */
  readonly fingerprint: string | null;
  readonly isDryRun: boolean;
  readonly matched: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly taskIds: readonly string[];
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

interface Caller {
  readonly tenantId: string;
  readonly ownerId: string;
}

const INSERT: Statement = {
  name: 'insert-bulk',
  text: `INSERT INTO taskbridge.proj_bulk_runs (bulk_id, tenant_id, owner_id, kind, filter, created_before, is_dry_run, correlation_id, due_at,
      finished_at)
    VALUES ($8, $1, $2, $3, $4::json, coalesce($5::timestamptz, clock_timestamp()), $6, $7, CASE WHEN NOT $6 THEN clock_timestamp() END,
      CASE WHEN $6 THEN clock_timestamp() END)
    ON CONFLICT (bulk_id) DO NOTHING RETURNING bulk_id`,
};

/**
 * A preview counts as finished until it runs, so that it is forgotten like a run.
 * @returns false when there is a bulk with this id
 */
export async function insertBulk(
  tx: Queryable,
  caller: Caller,
  bulk: {
    readonly bulkId: string;
    readonly fingerprint: string;
    readonly kind: BulkKind;
    readonly principal: StoredPrincipal;
    readonly createdBefore: string | undefined;
    readonly isDryRun: boolean;
    readonly correlationId: string;
  },
): Promise<boolean> {
  const { bulkId, kind, principal, fingerprint, createdBefore, isDryRun, correlationId } = bulk;
  const filter = JSON.stringify({ principal, fingerprint });
  const values = [caller.tenantId, caller.ownerId, kind, filter, createdBefore ?? null];
  return (await tx.query(INSERT, [...values, isDryRun, correlationId, bulkId])).length > 0;
}

/** Index: proj_tasks_newest_first. Selected once, and kept: what the run itself makes is never among it. */
const SELECT: Statement = {
  name: 'select-bulk-tasks',
  text: `INSERT INTO taskbridge.proj_bulk_run_tasks (bulk_id, task_id)
    SELECT b.bulk_id, t.task_id FROM taskbridge.proj_bulk_runs b, LATERAL (
      SELECT task_id FROM taskbridge.proj_tasks t
      WHERE t.tenant_id = $2 AND t.owner_id = $3 AND t.created_at < b.created_before
        AND (t.finished_at IS NULL) = (b.kind = 'cancel') AND t.aside_code IS NULL
        AND ($4::text IS NULL OR t.status = $4) AND ($5::text IS NULL OR t.task_type = $5)
        AND ($6::boolean IS NULL OR (t.suspend_id IS NOT NULL) = $6)
      ORDER BY t.created_at, t.task_id LIMIT $7) AS t
    WHERE b.bulk_id = $1`,
};

export async function selectTasks(tx: Queryable, bulkId: string, filter: BulkFilter, max: number): Promise<void> {
  const { tenantId, ownerId, status, taskType, suspended } = filter;
  await tx.query(SELECT, [bulkId, tenantId, ownerId, status ?? null, taskType ?? null, suspended ?? null, max]);
}

const NAME: Statement = {
  name: 'name-bulk-tasks',
  text: `INSERT INTO taskbridge.proj_bulk_run_tasks (bulk_id, task_id) SELECT DISTINCT $1::uuid, id FROM unnest($2::uuid[]) AS id`,
};

export async function nameTasks(tx: Queryable, bulkId: string, taskIds: readonly string[]): Promise<void> {
  await tx.query(NAME, [bulkId, taskIds]);
}

const START: Statement = {
  name: 'start-bulk',
  text: `UPDATE taskbridge.proj_bulk_runs SET is_dry_run = false, due_at = clock_timestamp(), finished_at = NULL
    WHERE bulk_id = $1 AND is_dry_run RETURNING bulk_id`,
};

/** @returns false when it was no preview any more */
export async function startBulk(tx: Queryable, bulkId: string): Promise<boolean> {
  return (await tx.query(START, [bulkId])).length > 0;
}

const READ: Statement = {
  name: 'read-bulk',
  text: `SELECT b.bulk_id, b.kind, b.filter ->> 'fingerprint' AS fingerprint, b.is_dry_run, b.created_at, CASE WHEN NOT b.is_dry_run THEN b.finished_at END AS finished_at,
      (SELECT count(*)::int FROM taskbridge.proj_bulk_run_tasks t WHERE t.bulk_id = b.bulk_id) AS matched,
      (SELECT coalesce(json_object_agg(outcome, n), '{}') FROM (SELECT outcome, count(*)::int AS n
        FROM taskbridge.proj_bulk_run_tasks t WHERE t.bulk_id = b.bulk_id AND outcome IS NOT NULL GROUP BY outcome) AS o) AS outcomes,
      CASE WHEN b.is_dry_run THEN ARRAY(SELECT task_id::text FROM taskbridge.proj_bulk_run_tasks t WHERE t.bulk_id = b.bulk_id
        ORDER BY task_id LIMIT ${MAX_SHOWN_BULK_TASKS}) ELSE '{}' END AS task_ids
    FROM taskbridge.proj_bulk_runs b WHERE b.bulk_id = $1 AND b.tenant_id = $2 AND b.owner_id = $3`,
};

/** @returns undefined when the caller began no such one */
export async function readBulk(db: Queryable, caller: Caller, bulkId: string): Promise<StoredBulk | undefined> {
  const [row] = await db.query<{
    bulk_id: string;
    kind: BulkKind;
    fingerprint: string | null;
    is_dry_run: boolean;
    created_at: Date;
    finished_at: Date | null;
    matched: number;
    outcomes: Record<string, number>;
    task_ids: string[];
  }>(READ, [bulkId, caller.tenantId, caller.ownerId]);
  return (
    row && {
      bulkId: row.bulk_id,
      kind: row.kind,
      fingerprint: row.fingerprint,
      isDryRun: row.is_dry_run,
      matched: row.matched,
      outcomes: row.outcomes,
      taskIds: row.task_ids,
      createdAt: row.created_at,
      finishedAt: row.finished_at,
    }
  );
}

/** Index: proj_bulk_runs_due. For some seconds it is nobody else's. */
const TAKE: Statement = {
  name: 'take-due-bulk',
  text: `WITH due AS (
      SELECT bulk_id FROM taskbridge.proj_bulk_runs WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ), taken AS (
      UPDATE taskbridge.proj_bulk_runs b SET due_at = clock_timestamp() + interval '30 seconds',
        started_at = coalesce(b.started_at, clock_timestamp())
      FROM due WHERE b.bulk_id = due.bulk_id RETURNING b.bulk_id, b.kind, b.filter, b.correlation_id
    )
    SELECT taken.*, ARRAY(SELECT task_id::text FROM taskbridge.proj_bulk_run_tasks t
      WHERE t.bulk_id = taken.bulk_id AND t.outcome IS NULL ORDER BY task_id LIMIT $1) AS task_ids FROM taken`,
};

export interface TakenBulk {
  readonly bulkId: string;
  readonly kind: BulkKind;
  readonly principal: StoredPrincipal;
  readonly correlationId: string;
  /** Some of those that are not done. Empty: all are. */
  readonly taskIds: readonly string[];
}

export async function takeDueBulk(db: Queryable, limit: number): Promise<TakenBulk | undefined> {
  const [row] = await db.query<{
    bulk_id: string;
    kind: BulkKind;
    filter: { principal: StoredPrincipal };
    correlation_id: string;
    task_ids: string[];
  }>(TAKE, [limit]);
  return (
    row && {
      bulkId: row.bulk_id,
      kind: row.kind,
      principal: row.filter.principal,
      correlationId: row.correlation_id,
      taskIds: row.task_ids,
    }
  );
}

export interface Outcome {
  readonly taskId: string;
  readonly outcome: string;
  readonly newTaskId: string | null;
}

const NOTE: Statement = {
  name: 'note-bulk-outcomes',
  text: `WITH noted AS (
      UPDATE taskbridge.proj_bulk_run_tasks t SET outcome = o.outcome, new_task_id = o.new_task_id
      FROM unnest($2::uuid[], $3::text[], $4::uuid[]) AS o (task_id, outcome, new_task_id)
      WHERE t.bulk_id = $1 AND t.task_id = o.task_id
    )
    UPDATE taskbridge.proj_bulk_runs SET due_at = CASE WHEN $5::float8 IS NOT NULL THEN clock_timestamp() + make_interval(secs => $5) END,
      finished_at = CASE WHEN $5 IS NULL THEN clock_timestamp() END WHERE bulk_id = $1`,
};

/** `pauseSeconds`: until the next ones; null: all are done. */
export async function noteOutcomes(
  db: Queryable,
  bulkId: string,
  outcomes: readonly Outcome[],
  pauseSeconds: number | null,
): Promise<void> {
  await db.query(NOTE, [
    bulkId,
    outcomes.map(({ taskId }) => taskId),
    outcomes.map(({ outcome }) => outcome),
    outcomes.map(({ newTaskId }) => newTaskId),
    pauseSeconds,
  ]);
}

const AUDIT: Statement = {
  name: 'audit-bulk',
  text: `INSERT INTO taskbridge.entries_audit (principal_id, tenant_id, action, owner_id, subject, details, correlation_id)
    SELECT b.owner_id, b.tenant_id, 'bulk_' || b.kind, $2, b.bulk_id::text,
      json_build_object('matched', (SELECT count(*) FROM taskbridge.proj_bulk_run_tasks t WHERE t.bulk_id = b.bulk_id)), $3
    FROM taskbridge.proj_bulk_runs b WHERE b.bulk_id = $1`,
};

/** When it begins to run. `ownerId`: whose tasks its filter matched. */
export async function auditBulk(
  tx: Queryable,
  bulkId: string,
  ownerId: string | null,
  correlationId: string,
): Promise<void> {
  await tx.query(AUDIT, [bulkId, ownerId, correlationId]);
}
