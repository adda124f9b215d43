import type { Queryable, Statement } from '../../database/queryable.js';

/** In one statement, so that none lasts long. */
const MAX_CHANGES = 5_000;
const MAX_ROWS = 1_000;

/**
 * Adds the changes that the triggers wrote to the totals. One session at a time, as two would wait for each other's totals; the
 * lock is also that of a recount (migrations/0009). Changes are read in any order and deleted, so their table has no index.
 */
const FOLD: Statement = {
  name: 'fold-task-counts',
  text: `WITH mine AS MATERIALIZED (
      SELECT pg_try_advisory_xact_lock(7461738) AS is_free
    ), gone AS (
      DELETE FROM taskbridge.proj_task_count_changes WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM taskbridge.proj_task_count_changes WHERE (SELECT is_free FROM mine) LIMIT $1 FOR UPDATE SKIP LOCKED))
      RETURNING *
    ), change AS (
      SELECT tenant_id, owner_id, task_type, status, sum(n) AS n FROM (
        SELECT tenant_id, owner_id, task_type, old_status AS status, -n AS n FROM gone WHERE old_status IS NOT NULL
        UNION ALL SELECT tenant_id, owner_id, task_type, new_status, n FROM gone WHERE new_status IS NOT NULL) AS each
      GROUP BY tenant_id, owner_id, task_type, status HAVING sum(n) <> 0
    ), folded AS (
      INSERT INTO taskbridge.proj_task_counts AS c (tenant_id, owner_id, task_type, status, n)
      SELECT * FROM change ON CONFLICT (tenant_id, owner_id, task_type, status) DO UPDATE SET n = c.n + excluded.n
    )
    SELECT count(*)::int AS folded FROM gone`,
};

/** @returns how many changes it folded; less than the most when there are no more, or another session folds */
async function foldCounts(db: Queryable): Promise<number> {
  const [row] = await db.query<{ folded: number }>(FOLD, [MAX_CHANGES]);
  return row?.folded ?? 0;
}

/** Index: proj_task_counts_none. */
const FORGET_EMPTY: Statement = {
  name: 'forget-empty-task-counts',
  text: `DELETE FROM taskbridge.proj_task_counts WHERE n = 0`,
};

/** Tables whose rows the service deletes, the indexed time by which it does, and after how long. */
const FORGOTTEN = [
  ['proj_removed_tasks', 'removed_at', '1 day'],
  ['proj_revoked_tokens', 'revoked_at', '16 minutes'],
  ['proj_replicas', 'seen_at', '1 day'],
  ['proj_workers', 'seen_at', '1 day'],
  ['proj_task_type_versions', 'seen_at', '30 days'],
  ['proj_limits', 'full_at', '1 hour'],
  ['proj_webhook_outbox', 'settled_at', '1 day'],
  ['proj_bulk_runs', 'finished_at', '30 days'],
] as const;

/** Index: of each table, on the time. */
const FORGET: readonly Statement[] = FORGOTTEN.map(([table, time, age]) => ({
  name: `forget-${table.replaceAll('_', '-')}`,
  text: `DELETE FROM taskbridge.${table} WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM taskbridge.${table} WHERE ${time} <= clock_timestamp() - interval '${age}'
      ORDER BY ${time} LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING 1`,
}));

/** Folds the counts of tasks. */
export async function keepCounts(db: Queryable): Promise<void> {
  while ((await foldCounts(db)) === MAX_CHANGES);
  await db.query(FORGET_EMPTY, []);
}

/** Deletes what the service needs no more. Each statement is a transaction of its own, and bounded. */
export async function forgetOldRows(db: Queryable): Promise<void> {
  for (const statement of FORGET) {
    while ((await db.query(statement, [MAX_ROWS])).length === MAX_ROWS);
  }
}
