import type { Queryable, Statement } from '../../database/queryable.js';
import {
  type MaxAttempts,
  STATE_COLUMNS,
  taskView,
  VIEW_JOINS,
  type TaskView,
  type ViewRow,
} from './read-task-view.js';

/** Whose tasks: of an owner, of a tenant, or all. */
interface Whose {
  readonly tenantId?: string;
  readonly ownerId?: string;
}

/** Transactions that were not over in a snapshot: those that were open, and those from `from` on. */
interface NotIn {
  readonly open: readonly bigint[];
  readonly from: bigint;
}

/** The present of the database. */
export interface Present {
  readonly epoch: string;
  /** A `pg_snapshot` in text form. */
  readonly snapshot: string;
  /** The clock, in Unix milliseconds. */
  readonly at: number;
}

/** A task that was changed or removed. */
export interface ChangedTask {
  readonly xid: bigint;
  readonly taskId: string;
  readonly taskType: string;
  /** Without input, result and attachments. Null: it was removed. */
  readonly view: TaskView | null;
  readonly isSuspended: boolean;
  readonly tags: readonly { readonly key: string; readonly value: string }[];
}

export interface ChangePage extends Present {
  readonly changes: readonly ChangedTask[];
}

interface PresentRow {
  epoch: string;
  snapshot: string;
  at: number;
}

const PRESENT = `taskbridge.epoch() AS epoch, pg_current_snapshot()::text AS snapshot,
  (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS at`;

const READ_PRESENT: Statement = { name: 'read-present', text: `SELECT ${PRESENT}` };

export async function readPresent(db: Queryable): Promise<Present> {
  const [present] = await db.query<PresentRow>(READ_PRESENT, []);
  if (present === undefined) throw new Error('a SELECT without FROM answered no row');
  return present;
}

const TABLES = [
  { table: 'proj_tasks', xid: 'changed_xid', isRemoved: false },
  { table: 'proj_removed_tasks', xid: 'removed_xid', isRemoved: true },
] as const;

/** Each part is a range of an index, in its order. One range from the oldest open transaction on could be a million rows long. */
const partsOf = (whose: string) =>
  TABLES.flatMap(({ table, xid, isRemoved }) =>
    [`= ANY ($3::xid8[])`, '>= $4::xid8'].map(
      (range) => `(SELECT ${xid} AS xid, task_id, task_type, ${isRemoved} AS is_removed FROM taskbridge.${table}
        WHERE ${whose} AND ${xid} ${range} AND (${xid}, task_id) > ($5::xid8, $6::uuid)
          AND pg_visible_in_snapshot(${xid}, coalesce($7::pg_snapshot, pg_current_snapshot()))
        ORDER BY ${xid}, task_id LIMIT $8)`,
    ),
  ).join(' UNION ALL ');

/** Index: proj_tasks_changed, proj_removed_tasks_owner; for tenants and all: proj_tasks_changed_all, proj_removed_tasks_all. */
const pageOf = (name: string, whose: string): Statement => ({
  name: `read-changes-of-${name}`,
  text: `WITH present AS MATERIALIZED (SELECT ${PRESENT}),
    page AS (SELECT * FROM (${partsOf(whose)}) AS part ORDER BY xid, task_id LIMIT $8)
    SELECT present.*, page.xid, page.task_id AS changed_id, page.task_type AS changed_type, page.is_removed,
      t.suspend_id IS NOT NULL AS is_suspended, NULL AS input, ${STATE_COLUMNS},
      CASE WHEN $9 THEN (SELECT json_agg(json_build_object('key', g.key, 'value', g.value))
        FROM taskbridge.proj_task_tags g WHERE g.task_id = page.task_id) END AS tags
    FROM present LEFT JOIN page ON true
      LEFT JOIN taskbridge.proj_tasks t ON t.task_id = page.task_id AND NOT page.is_removed ${VIEW_JOINS}
    ORDER BY page.xid, page.task_id`,
});

const PAGES = {
  owner: pageOf('owner', 'tenant_id = $1 AND owner_id = $2'),
  tenant: pageOf('tenant', 'tenant_id = $1 AND $2::text IS NULL'),
  all: pageOf('all', '$1::text IS NULL AND $2::text IS NULL'),
};

interface ChangeRow extends ViewRow, PresentRow {
  xid: string | null;
  changed_id: string;
  changed_type: string;
  is_removed: boolean;
  is_suspended: boolean;
  tags: ChangedTask['tags'] | null;
}

/** The place before all others. */
const BEGINNING = { xid: 0n, taskId: '00000000-0000-0000-0000-000000000000' };

/**
 * Tasks whose last change was not over in a snapshot, and is in `target`. In the order of transaction ids and tasks.
 * @param after the last one of the page before
 * @param target a `pg_snapshot` in text form; absent: the present one
 * @param withTags whether to read tags
 */
export async function readChanges(
  db: Queryable,
  whose: Whose,
  { open, from }: NotIn,
  page: {
    readonly after?: { readonly xid: bigint; readonly taskId: string };
    readonly target?: string;
    readonly limit: number;
    readonly withTags: boolean;
  },
  maxAttempts: MaxAttempts,
): Promise<ChangePage> {
  const { after = BEGINNING, target = null, limit, withTags } = page;
  const statement = PAGES[whose.ownerId !== undefined ? 'owner' : whose.tenantId !== undefined ? 'tenant' : 'all'];
  const rows = await db.query<ChangeRow>(statement, [
    whose.tenantId ?? null,
    whose.ownerId ?? null,
    open.filter((xid) => xid >= after.xid).map(String),
    String(from > after.xid ? from : after.xid),
    String(after.xid),
    after.taskId,
    target,
    limit,
    withTags,
  ]);
  const [first] = rows;
  if (first === undefined) throw new Error('the present has no row');
  const { epoch, snapshot, at } = first;
  const changes = rows.flatMap((row) => (row.xid === null ? [] : [changeIn(row, row.xid, maxAttempts, whose)]));
  return { epoch, snapshot, at, changes };
}

function changeIn(row: ChangeRow, xid: string, maxAttempts: MaxAttempts, { ownerId }: Whose): ChangedTask {
  const view = row.is_removed ? null : taskView(row, maxAttempts);
  return {
    xid: BigInt(xid),
    taskId: row.changed_id,
    taskType: row.changed_type,
    view: view && ownerId === undefined ? { ...view, showsOwner: true } : view,
    isSuspended: row.is_suspended,
    tags: row.tags ?? [],
  };
}

const CHANGED = TABLES.flatMap(({ table, xid }) =>
  [`= ANY ($3::xid8[])`, '>= $4::xid8'].map(
    (range) => `EXISTS (SELECT FROM taskbridge.${table} c
      WHERE c.tenant_id = o.tenant_id AND c.owner_id = o.owner_id AND c.${xid} ${range})`,
  ),
).join(' OR ');

/** Index: proj_tasks_changed, proj_removed_tasks_owner, once for each owner. */
const FIND_CHANGED: Statement = {
  name: 'find-changed-owners',
  text: `SELECT ${PRESENT}, ARRAY(SELECT o.place FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS o (tenant_id, owner_id, place)
    WHERE ${CHANGED})::int[] AS places`,
};

/** Which of these owners have a change that was not over in a snapshot. One query for all of them. */
export async function findChangedOwners<Owner extends Required<Whose>>(
  db: Queryable,
  owners: readonly Owner[],
  { open, from }: NotIn,
): Promise<Present & { readonly changed: readonly Owner[] }> {
  const [found] = await db.query<PresentRow & { places: readonly number[] }>(FIND_CHANGED, [
    owners.map(({ tenantId }) => tenantId),
    owners.map(({ ownerId }) => ownerId),
    open.map(String),
    String(from),
  ]);
  if (found === undefined) throw new Error('a SELECT without FROM answered no row');
  const { places, ...present } = found;
  return { ...present, changed: places.flatMap((place) => owners[place - 1] ?? []) };
}
