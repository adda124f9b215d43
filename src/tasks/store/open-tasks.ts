import type { Queryable, Statement } from '../../database/queryable.js';

/**
 * Whether the owner `$2`, `$3` has fewer than `$1` open tasks. Reads at most `$1` rows. Null means no cap, and no row is read.
 * Index: proj_tasks_places.
 */
export const HAS_ROOM = `($1::int IS NULL OR (SELECT count(*) FROM (SELECT FROM taskbridge.proj_tasks
    WHERE tenant_id = $2 AND owner_id = $3 AND finished_at IS NULL LIMIT $1) AS open) < $1)`;

const READ: Statement = { name: 'has-room-for-task', text: `SELECT ${HAS_ROOM} AS has_room` };

/** The present state. It takes no lock, so it promises nothing to a create. */
export async function hasRoom(
  db: Queryable,
  { tenantId, ownerId }: { readonly tenantId: string; readonly ownerId: string },
  maxOpenTasks: number | null,
): Promise<boolean> {
  const [row] = await db.query<{ has_room: boolean }>(READ, [maxOpenTasks, tenantId, ownerId]);
  return row?.has_room === true;
}
