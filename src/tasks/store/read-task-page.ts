import type { Queryable, Statement } from '../../database/queryable.js';
import { type MaxAttempts, taskView, VIEW_JOINS, VIEW_COLUMNS, type TaskView, type ViewRow } from './read-task-view.js';

export interface TaskFilter {
  readonly tenantId: string;
  readonly ownerId: string;
  readonly status?: string;
  readonly taskType?: string;
  readonly suspended?: boolean;
  readonly clientRequestId?: string;
  /** RFC 3339, both; exclusive. */
  readonly createdAfter?: string;
  readonly createdBefore?: string;
  /** The last task of the page before. */
  readonly after?: { readonly createdAt: Date; readonly taskId: string };
}

/** Index: proj_tasks_newest_first; keyset, so that tasks created meanwhile neither repeat nor hide others. */
const listOf = (name: string, more = ''): Statement => ({
  name,
  text: `SELECT ${VIEW_COLUMNS}, NULL AS input FROM taskbridge.proj_tasks t ${VIEW_JOINS}
    WHERE t.tenant_id = $1 AND t.owner_id = $2
      AND ($3::text IS NULL OR t.status = $3) AND ($4::text IS NULL OR t.task_type = $4)
      AND ($5::boolean IS NULL OR (t.suspend_id IS NOT NULL) = $5)
      AND ($6::timestamptz IS NULL OR t.created_at > $6) AND ($7::timestamptz IS NULL OR t.created_at < $7)
      AND ($8::timestamptz IS NULL OR (t.created_at, t.task_id) < ($8, $9::uuid)) ${more}
    ORDER BY t.created_at DESC, t.task_id DESC LIMIT $10`,
});
const LIST = listOf('list-tasks');
/** Index: proj_tasks_client_request. */
const LIST_OF_REQUEST = listOf('list-task-of-request', 'AND t.client_request_id = $11');

export async function listTaskViews(
  db: Queryable,
  filter: TaskFilter,
  limit: number,
  maxAttempts: MaxAttempts,
): Promise<readonly TaskView[]> {
  const rows = await db.query<ViewRow>(filter.clientRequestId === undefined ? LIST : LIST_OF_REQUEST, [
    filter.tenantId,
    filter.ownerId,
    filter.status ?? null,
    filter.taskType ?? null,
    filter.suspended ?? null,
    filter.createdAfter ?? null,
    filter.createdBefore ?? null,
    filter.after?.createdAt ?? null,
    filter.after?.taskId ?? null,
    limit,
    ...(filter.clientRequestId === undefined ? [] : [filter.clientRequestId]),
  ]);
  return rows.map((row) => taskView(row, maxAttempts));
}
