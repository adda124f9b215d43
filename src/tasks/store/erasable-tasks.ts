import { ServiceUnavailable } from '../../errors.js';
import { sqlStateOf } from '../../database/database.errors.js';
import type { Queryable, Statement } from '../../database/queryable.js';

/** Who erases, for the audit. */
export interface Eraser {
  readonly principalId: string;
  readonly tenantId: string;
  readonly action: 'erase_task' | 'erase_owner_tasks';
  readonly correlationId: string;
}

const ERASE: Statement = {
  name: 'erase-tasks',
  text: 'SELECT task_id FROM taskbridge.erase_tasks($1::uuid[], $2, $3, $4, $5) AS task_id',
};

const UNDEFINED_FUNCTION = '42883';

/**
 * Whole tasks with all that belongs to them. A task that is not over stays.
 * @returns those that are gone now
 * @throws ServiceUnavailable until the migration that brings the function has run
 */
export async function eraseTasks(
  db: Queryable,
  taskIds: readonly string[],
  eraser: Eraser,
): Promise<readonly string[]> {
  const { principalId, tenantId, action, correlationId } = eraser;
  try {
    const rows = await db.query<{ task_id: string }>(ERASE, [taskIds, principalId, tenantId, action, correlationId]);
    return rows.map((row) => row.task_id);
  } catch (error) {
    if (sqlStateOf(error) !== UNDEFINED_FUNCTION) throw error;
    throw new ServiceUnavailable(60, 'The online migrations are not done yet');
  }
}

/** Index: proj_tasks_newest_first. Tasks that were set aside wait for an operator. */
const OF_OWNER: Statement = {
  name: 'find-erasable-tasks',
  text: `SELECT task_id, finished_at IS NOT NULL AS is_over FROM taskbridge.proj_tasks
    WHERE tenant_id = $1 AND owner_id = $2 AND aside_code IS NULL AND (finished_at IS NOT NULL OR $3)
    ORDER BY created_at DESC, task_id DESC LIMIT $4`,
};

export async function findErasable(
  db: Queryable,
  { tenantId, ownerId }: { readonly tenantId: string; readonly ownerId: string },
  { andOpen, limit }: { readonly andOpen: boolean; readonly limit: number },
): Promise<readonly { readonly taskId: string; readonly isOver: boolean }[]> {
  const rows = await db.query<{ task_id: string; is_over: boolean }>(OF_OWNER, [tenantId, ownerId, andOpen, limit]);
  return rows.map((row) => ({ taskId: row.task_id, isOver: row.is_over }));
}
