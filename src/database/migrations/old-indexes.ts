import type { Client, QueryConfig } from 'pg';

/** Indexes that only release 0.1.0 reads: each write of a task would write them, too. By name, what they are on. */
export const OLD_INDEXES: Readonly<Record<string, string>> = {
  proj_tasks_claimable: '(claimable_at, task_id) WHERE claimable_at IS NOT NULL',
  proj_tasks_claimable_by_owner: '(tenant_id, owner_id, claimable_at) WHERE claimable_at IS NOT NULL',
  proj_tasks_claimable_by_type: '(task_type, claimable_at) WHERE claimable_at IS NOT NULL',
  proj_tasks_leased: '(task_id) WHERE lease_token IS NOT NULL',
  proj_tasks_open: '(tenant_id, owner_id) WHERE finished_at IS NULL',
  proj_tasks_unattended:
    '(task_id) WHERE finished_at IS NULL AND claimable_at IS NULL AND lease_token IS NULL AND suspend_id IS NULL',
};

/** Sessions of 0.1.0 have this name; those of later builds have the version behind it. */
const SESSION_OF_0_1_0 = 'taskbridge';
/** The last online migration that made indexes in their place. */
const REPLACED_BY = 14;

/** `pg` reads the limit of one statement from here, and its types leave it out. */
type TimedQuery = QueryConfig & { readonly query_timeout: number };
const TIMEOUT_MS = 24 * 60 * 60 * 1_000;

/**
 * Drops what only 0.1.0 needs, once no session of it is there. No numbered migration: that one would hold up all later ones as long as
 * a replica of 0.1.0 serves. `npm run rollback` makes them again, and the next `npm run migrate` drops them again.
 */
export async function dropOldIndexes(client: Client, log: (line: string) => void): Promise<void> {
  const { rows } = await client.query<{ name: string; is_needed: boolean; is_replaced: boolean }>(
    `SELECT c.relname AS name, EXISTS (SELECT FROM taskbridge.schema_migrations WHERE version = $2) AS is_replaced,
        EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = $3) AS is_needed
      FROM pg_class c WHERE c.relnamespace = 'taskbridge'::regnamespace AND c.relkind = 'i' AND c.relname = ANY ($1::text[])
      ORDER BY c.relname`,
    [Object.keys(OLD_INDEXES), REPLACED_BY, SESSION_OF_0_1_0],
  );
  if (rows[0]?.is_replaced !== true) return;
  if (rows[0].is_needed) {
    log(`left ${rows.length} indexes of 0.1.0, which serves: run it again when 0.1.0 is gone`);
    return;
  }
  // It waits for transactions of other sessions, which do not wait for it.
  await client.query('SET statement_timeout = 0; SET lock_timeout = 0');
  for (const { name } of rows) {
    const drop: TimedQuery = { text: `DROP INDEX CONCURRENTLY taskbridge.${name}`, query_timeout: TIMEOUT_MS };
    await client.query(drop);
  }
  await client.query('RESET statement_timeout; RESET lock_timeout');
  log(`dropped ${rows.length} indexes that only 0.1.0 needs`);
}
