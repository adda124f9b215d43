import type { Queryable, Statement } from '../../database/queryable.js';

// A key names an event of its attempt, until that event is void. The event that is stored anew then has the key with a space and its own id
// behind it: rows of entries_* never change, and no key that a worker sends has a space.

/** Events by their keys, read under the lock of the task. */
export type StoredKeys = ReadonlyMap<string, number>;

/** Index: the primary keys. All keys of the attempt are read, and the log behind the first of these events: a repeat is rare. */
const READ: Statement = {
  name: 'read-event-keys',
  text: `WITH named AS MATERIALIZED (
      SELECT DISTINCT ON (key) key, e.event_id, e.type
      FROM taskbridge.entries_event_keys k JOIN taskbridge.events e USING (task_id, event_id),
        LATERAL split_part(k.event_key, ' ', 1) AS key
      WHERE k.task_id = $1 AND k.attempt = $2 AND key = ANY ($3::text[]) ORDER BY key, e.event_id DESC
    ), voiding AS MATERIALIZED (
      SELECT v.event_id, (v.payload ->> 'supersedesAfterEventId')::bigint AS since FROM taskbridge.events v
      WHERE v.task_id = $1 AND v.event_id > (SELECT min(event_id) FROM named) AND v.type IN ('TASK_RESUMED', 'TASK_STEP')
    )
    SELECT n.key, n.event_id FROM named n WHERE n.type NOT IN ('TASK_PROGRESS', 'TASK_OUTPUT')
      OR NOT EXISTS (SELECT FROM voiding v WHERE v.since < n.event_id AND n.event_id < v.event_id)`,
};

/** What the keys name in this attempt. A key of an event that is void names nothing. */
export async function readEventKeys(
  tx: Queryable,
  taskId: string,
  attempt: number,
  keys: readonly string[],
): Promise<StoredKeys> {
  const rows = await tx.query<{ key: string; event_id: string }>(READ, [taskId, attempt, keys]);
  return new Map(rows.map((row) => [row.key, Number(row.event_id)]));
}

const INSERT: Statement = {
  name: 'insert-event-keys',
  text: `INSERT INTO taskbridge.entries_event_keys (task_id, attempt, event_key, event_id)
    SELECT $1, $2, CASE WHEN k.event_key IS NULL THEN n.event_key ELSE n.event_key || ' ' || n.event_id END, n.event_id
    FROM unnest($3::text[], $4::bigint[]) AS n (event_key, event_id)
    LEFT JOIN taskbridge.entries_event_keys k ON k.task_id = $1 AND k.attempt = $2 AND k.event_key = n.event_key`,
};

/** For the slow path. `appendBatch` does the same in its own statement, where no key is stored. */
export async function insertEventKeys(
  tx: Queryable,
  taskId: string,
  attempt: number,
  named: StoredKeys,
): Promise<void> {
  await tx.query(INSERT, [taskId, attempt, [...named.keys()], [...named.values()]]);
}
