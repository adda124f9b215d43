import type { Client } from 'pg';

const AT_A_TIME = 10_000;

/**
 * A restored dump has transaction ids of the cluster that it was made in, and they may be above the counter of this one. A feed
 * would show such a row again and again, or never. In an epoch that was not examined yet they get the id of a transaction of
 * this cluster. All other rows stay.
 */
export async function stampRows(client: Client, log: (line: string) => void): Promise<void> {
  if (await isExamined(client)) return;
  let stamped = 0;
  let position: string | null = '00000000-0000-0000-0000-000000000000';
  while (position !== null) {
    const { rows }: { rows: { position: string | null; stamped: number }[] } = await client.query(STAMP, [
      position,
      AT_A_TIME,
    ]);
    position = rows[0]?.position ?? null;
    stamped += rows[0]?.stamped ?? 0;
  }
  await client.query(STAMP_REMOVED);
  await client.query(
    'INSERT INTO taskbridge.examined_epochs (epoch) SELECT taskbridge.epoch() ON CONFLICT (epoch) DO NOTHING',
  );
  log(`a new epoch: ${stamped} tasks had a transaction id above the counter`);
}

async function isExamined(client: Client): Promise<boolean> {
  // A schema of the first migrations has no epoch.
  const { rows: tables } = await client.query<{ is_there: boolean }>(
    `SELECT to_regclass('taskbridge.examined_epochs') IS NOT NULL AS is_there`,
  );
  if (tables[0]?.is_there !== true) return true;
  const { rows } = await client.query<{ is_examined: boolean }>(
    'SELECT EXISTS (SELECT FROM taskbridge.examined_epochs WHERE epoch = taskbridge.epoch()) AS is_examined',
  );
  return rows[0]?.is_examined === true;
}

/** Index: the primary key. `$1` is the last task of the step before. */
const STAMP = `WITH batch AS (
    SELECT task_id, changed_xid FROM taskbridge.proj_tasks WHERE task_id > $1::uuid ORDER BY task_id LIMIT $2
  ), stamped AS (
    UPDATE taskbridge.proj_tasks t SET changed_xid = pg_current_xact_id() FROM batch
    WHERE t.task_id = batch.task_id AND t.changed_xid >= pg_snapshot_xmax(pg_current_snapshot())
    RETURNING t.task_id
  )
  SELECT (SELECT task_id::text FROM batch ORDER BY task_id DESC LIMIT 1) AS position, (SELECT count(*)::int FROM stamped) AS stamped`;

const STAMP_REMOVED = `UPDATE taskbridge.proj_removed_tasks SET removed_xid = pg_current_xact_id()
  WHERE removed_xid >= pg_snapshot_xmax(pg_current_snapshot())`;
