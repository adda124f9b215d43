import { connected } from '../test/support/fold.js';
import type { TestDatabase } from '../test/support/postgres.js';

/** Transactions that wrote, and the bytes of their log, of the whole server: nothing else uses it. */
export function written({ superuserUrl }: TestDatabase): Promise<{ commits: number; walBytes: number }> {
  return connected(superuserUrl, async (db) => {
    const { rows } = await db.query<{ commits: number; bytes: number }>(
      `SELECT pg_snapshot_xmax(pg_current_snapshot())::text::float8 AS commits,
        pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS bytes`,
    );
    return { commits: rows[0]?.commits ?? Number.NaN, walBytes: rows[0]?.bytes ?? Number.NaN };
  });
}
