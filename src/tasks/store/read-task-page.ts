import { MAX_SCANNED_TASKS } from '#protocol/operators.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { TaskScope } from '../domain/task-scope.js';
import { type MaxAttempts, taskView, VIEW_JOINS, VIEW_COLUMNS, type TaskView, type ViewRow } from './read-task-view.js';

/** The last task that a page has, or has looked at. */
export interface Place {
  readonly createdAt: Date;
  readonly taskId: string;
}

export interface TaskFilter {
  readonly status?: string;
  readonly taskType?: string;
  /** The beginning of the type. */
  readonly taskTypePrefix?: string;
  readonly suspended?: boolean;
  readonly clientRequestId?: string;
  /** The `code` of TASK_FAILED. */
  readonly failureCode?: string;
  readonly tags?: Readonly<Record<string, string>>;
  /** RFC 3339, both; exclusive. */
  readonly createdAfter?: string;
  readonly createdBefore?: string;
}

/** What a page reads, at most, and of which tasks. */
interface Walk {
  readonly page: Statement;
  /** Finds the last task that the walk of a page may look at. */
  readonly end: Statement;
}

const WINDOW = `($5::timestamptz IS NULL OR t.created_at > $5) AND ($6::timestamptz IS NULL OR t.created_at < $6)`;

/** The id of a task is made from the time of its creation; from this on, in 48 bits. A day is for clocks of replicas of 0.1.0. */
const idAt = (time: string) =>
  `(lpad(to_hex(greatest(0, floor(extract(epoch FROM ${time}) * 1000)::bigint)), 12, '0') || '00000000000000000000')::uuid`;
const ID_WINDOW = `t.task_id >= CASE WHEN $5::timestamptz IS NULL THEN '00000000-0000-0000-0000-000000000000'
    ELSE ${idAt(`greatest($5::timestamptz, '1970-01-03') - interval '1 day'`)} END
  AND t.task_id < CASE WHEN $6::timestamptz IS NULL OR $6 > '9000-01-01' THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    ELSE ${idAt(`greatest($6::timestamptz, '1970-01-01') + interval '1 day'`)} END`;
const BY_ID = `($4::uuid IS NULL OR t.task_id < $4) AND ($3::timestamptz IS NULL OR true) AND ${ID_WINDOW}`;

/** PostgreSQL must not look into payloads. The service writes the code first. */
const FAILED_AS = `(t.status = 'FAILED' AND EXISTS (SELECT FROM taskbridge.events e
    WHERE e.task_id = t.task_id AND e.event_id = t.head_event_id AND left(e.payload::text, length($12)) = $12))`;
/** Index: proj_task_tags_task. */
const HAS_TAGS = `NOT EXISTS (SELECT FROM json_each_text($13::json) AS wanted WHERE NOT EXISTS (
    SELECT FROM taskbridge.proj_task_tags g WHERE g.task_id = t.task_id AND g.key = wanted.key AND g.value = wanted.value))`;

const FILTER = `($7::text IS NULL OR t.status = $7) AND ($8::text IS NULL OR t.task_type = $8)
  AND ($9::text IS NULL OR starts_with(t.task_type, $9)) AND ($10::boolean IS NULL OR (t.suspend_id IS NOT NULL) = $10)
  AND ($11::text IS NULL OR t.client_request_id = $11) AND ($12::text IS NULL OR ${FAILED_AS}) AND ($13::json IS NULL OR ${HAS_TAGS})
  AND ($1::text IS NULL OR t.tenant_id = $1) AND ${WINDOW}`;

/** Keyset, so that tasks created meanwhile neither repeat nor hide others. The walk goes on only until the page is full. */
const walk = (name: string, where: string, order: string): Walk => ({
  page: {
    name: `list-tasks-of-${name}`,
    text: `SELECT ${VIEW_COLUMNS}, NULL AS input FROM (
        SELECT * FROM taskbridge.proj_tasks t WHERE ${where} ORDER BY ${order} LIMIT ${MAX_SCANNED_TASKS}) AS t ${VIEW_JOINS}
      WHERE ${FILTER} ORDER BY ${order} LIMIT $14`,
  },
  end: {
    name: `end-of-list-of-${name}`,
    text: `SELECT t.created_at, t.task_id FROM taskbridge.proj_tasks t
      WHERE ${where} ORDER BY ${order} OFFSET ${MAX_SCANNED_TASKS - 1} LIMIT 1`,
  },
});

/** Index: proj_tasks_newest_first. */
const OF_OWNER = walk(
  'owner',
  `t.tenant_id = $1 AND t.owner_id = $2 AND ${WINDOW} AND ($3::timestamptz IS NULL OR (t.created_at, t.task_id) < ($3, $4::uuid))`,
  't.created_at DESC, t.task_id DESC',
);
// Ids are in the order of creation, so these need no index on the time.
/** Index: proj_tasks_of_tenant. */
const OF_TENANT = walk(
  'tenant',
  `t.tenant_id = $1 AND t.tenant_id <> '' AND $2::text IS NULL AND ${BY_ID}`,
  't.task_id DESC',
);
/** Index: the primary key. */
const OF_ALL = walk('all', `($1::text IS NULL OR true) AND $2::text IS NULL AND ${BY_ID}`, 't.task_id DESC');

/** Tasks without a tenant are most of an installation that has no tenants, and few of another one: they are a filter of all. */
function walkOf({ tenantId, ownerId }: TaskScope): Walk {
  if (ownerId !== undefined) return OF_OWNER;
  return tenantId ? OF_TENANT : OF_ALL;
}

/** Index: proj_tasks_client_request. */
const OF_REQUEST: Statement = {
  name: 'list-task-of-request',
  text: `SELECT ${VIEW_COLUMNS}, NULL AS input FROM taskbridge.proj_tasks t ${VIEW_JOINS}
    WHERE t.owner_id = $2 AND t.client_request_id = $11 AND ${FILTER} AND $3::timestamptz IS NULL AND $4::uuid IS NULL LIMIT $14`,
};

export interface FoundTasks {
  readonly views: readonly TaskView[];
  /** The walk ended here, before the end of the scope: there may be more behind it. Null: it did not. */
  readonly stoppedAt: Place | null;
}

/** At most `limit` tasks of the scope that match, newest first, behind `after`. It looks at MAX_SCANNED_TASKS at most. */
export async function listTaskViews(
  db: Queryable,
  scope: TaskScope,
  filter: TaskFilter,
  { limit, after }: { readonly limit: number; readonly after?: Place },
  maxAttempts: MaxAttempts,
): Promise<FoundTasks> {
  const { page, end } = walkOf(scope);
  const place = [
    scope.tenantId ?? null,
    scope.ownerId ?? null,
    after?.createdAt ?? null,
    after?.taskId ?? null,
    filter.createdAfter ?? null,
    filter.createdBefore ?? null,
  ];
  const values = [
    ...place,
    filter.status ?? null,
    filter.taskType ?? null,
    filter.taskTypePrefix ?? null,
    filter.suspended ?? null,
    filter.clientRequestId ?? null,
    filter.failureCode === undefined ? null : `{"code":${JSON.stringify(filter.failureCode)},`,
    filter.tags && Object.keys(filter.tags).length > 0 ? JSON.stringify(filter.tags) : null,
    limit,
  ];
  const isOne = filter.clientRequestId !== undefined && scope.ownerId !== undefined;
  // A list for one request has one page.
  if (isOne && after) return { views: [], stoppedAt: null };
  const rows = await db.query<ViewRow>(isOne ? OF_REQUEST : page, values);
  const views = rows.map((row) => taskView(row, maxAttempts));
  if (isOne || rows.length === limit) return { views, stoppedAt: null };
  const [last] = await db.query<{ created_at: Date; task_id: string }>(end, place);
  return { views, stoppedAt: last ? { createdAt: last.created_at, taskId: last.task_id } : null };
}
