import type { Queryable, Statement } from './queryable.js';

/**
 * How many transactions ago the oldest snapshot was taken that keeps PostgreSQL from removing dead rows: of a session of this
 * database or of a standby, of a replication slot, or of a prepared transaction. A running VACUUM holds nothing back. All of this is
 * visible to every role.
 */
const XMIN_AGE: Statement = {
  name: 'xmin-age',
  text: `SELECT coalesce(max(held.age), 0)::float8 AS age FROM (
      SELECT greatest(age(a.backend_xmin), age(a.backend_xid)) AS age FROM pg_stat_activity a
      WHERE (a.datname = current_database() OR a.datname IS NULL)
        AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
      UNION ALL SELECT greatest(age(s.xmin), age(s.catalog_xmin)) FROM pg_replication_slots s
      UNION ALL SELECT age(p.transaction) FROM pg_prepared_xacts p WHERE p.database = current_database()) held`,
};

export async function readXminAge(db: Queryable): Promise<number> {
  const [row] = await db.query<{ age: number }>(XMIN_AGE, []);
  return row?.age ?? 0;
}
