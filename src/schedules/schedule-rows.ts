import type { Overlap, Skip } from '#protocol/schedules.js';
import type { StoredPrincipal } from '../auth/stored-principal.js';
import type { Queryable, Statement } from '../database/queryable.js';
import type { TaskStatus } from '#protocol/snapshots.js';

// Index of all of these, unless they say otherwise: the primary key of proj_schedules.

export interface ScheduleKey {
  readonly tenantId: string;
  readonly ownerId: string;
  readonly name: string;
}

/** What the owner said. */
export interface ScheduleContent {
  readonly cron: string;
  readonly timeZone: string;
  readonly taskType: string;
  readonly inputJson: string | null;
  readonly metadataJson: string | null;
  readonly overlap: Overlap;
  readonly catchUp: number;
  /** It has no next tick. */
  readonly paused: boolean;
}

export interface StoredSchedule extends ScheduleKey, ScheduleContent {
  /** For the ownership policy, at each tick. */
  readonly principal: StoredPrincipal;
  readonly revision: number;
  readonly nextAt: Date | null;
  readonly lastAt: Date | null;
  readonly lastTaskId: string | null;
  readonly lastSkip: Skip | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

interface Row {
  tenant_id: string;
  owner_id: string;
  name: string;
  cron: string;
  time_zone: string;
  task_type: string;
  input: string | null;
  metadata: string | null;
  overlap: Overlap;
  catch_up: number;
  paused: boolean;
  principal: StoredPrincipal;
  revision: string;
  next_at: Date | null;
  last_at: Date | null;
  last_task_id: string | null;
  last_skip: Skip | null;
  created_at: Date;
  updated_at: Date;
}

const COLUMNS = `s.tenant_id, s.owner_id, s.name, s.cron, s.time_zone, s.task_type, s.input::text AS input, s.metadata::text AS metadata,
  s.overlap, s.catch_up, s.paused_at IS NOT NULL AS paused, s.principal, s.revision, s.next_at, s.last_at, s.last_task_id, s.last_skip, s.created_at, s.updated_at`;

const NOW: Statement = { name: 'read-now', text: 'SELECT clock_timestamp() AS now' };

export async function readNow(db: Queryable): Promise<Date> {
  const [row] = await db.query<{ now: Date }>(NOW, []);
  if (row === undefined) throw new Error('a SELECT without FROM answered no row');
  return row.now;
}

const IS_AS_BEFORE = '(s.cron, s.time_zone, s.paused_at IS NULL) = (excluded.cron, excluded.time_zone, NOT $14)';

/** A schedule whose times changed, or that was paused, begins anew. Nothing is missed, and nothing waits. */
const PUT: Statement = {
  name: 'put-schedule',
  text: `INSERT INTO taskbridge.proj_schedules AS s (tenant_id, owner_id, name, cron, time_zone, task_type, input, metadata, overlap,
      catch_up, principal, next_at, paused_at)
    SELECT $1::text, $2::text, $3::text, $4, $5, $6, $7::json, $8::json, $9, $10, $11::json, $12::timestamptz,
      CASE WHEN $14 THEN clock_timestamp() END
    WHERE (SELECT count(*) FROM taskbridge.proj_schedules o WHERE o.tenant_id = $1 AND o.owner_id = $2 AND o.name <> $3) < $13
    ON CONFLICT (tenant_id, owner_id, name) DO UPDATE SET cron = excluded.cron, time_zone = excluded.time_zone,
      task_type = excluded.task_type, input = excluded.input, metadata = excluded.metadata, overlap = excluded.overlap,
      catch_up = excluded.catch_up, principal = excluded.principal, revision = s.revision + 1, updated_at = clock_timestamp(),
      paused_at = CASE WHEN $14 THEN coalesce(s.paused_at, excluded.paused_at) END,
      next_at = CASE WHEN ${IS_AS_BEFORE} THEN s.next_at ELSE excluded.next_at END,
      last_skip = CASE WHEN ${IS_AS_BEFORE} THEN s.last_skip END
    RETURNING ${COLUMNS}, s.xmax = 0 AS is_new`,
};

/** @returns undefined when the owner has as many schedules as it may have */
export async function putSchedule(
  db: Queryable,
  key: ScheduleKey,
  content: ScheduleContent,
  principal: StoredPrincipal,
  { nextAt, maxSchedules }: { readonly nextAt: Date | null; readonly maxSchedules: number },
): Promise<{ readonly schedule: StoredSchedule; readonly isNew: boolean } | undefined> {
  const { cron, timeZone, taskType, inputJson, metadataJson, overlap, catchUp, paused } = content;
  const [row] = await db.query<Row & { is_new: boolean }>(PUT, [
    ...[key.tenantId, key.ownerId, key.name, cron, timeZone, taskType, inputJson, metadataJson, overlap, catchUp],
    ...[JSON.stringify(principal), nextAt, maxSchedules, paused],
  ]);
  return row && { schedule: scheduleOf(row), isNew: row.is_new };
}

const READ: Statement = {
  name: 'read-schedules',
  text: `SELECT ${COLUMNS} FROM taskbridge.proj_schedules s
    WHERE s.tenant_id = $1 AND s.owner_id = $2 AND ($3::text IS NULL OR s.name = $3) ORDER BY s.name`,
};

/** All schedules of the owner, or the one of this name. */
export async function readSchedules(
  db: Queryable,
  { tenantId, ownerId, name }: Omit<ScheduleKey, 'name'> & { readonly name?: string },
): Promise<readonly StoredSchedule[]> {
  return (await db.query<Row>(READ, [tenantId, ownerId, name ?? null])).map(scheduleOf);
}

/** Index: the primary key. */
const PAGE: Statement = {
  name: 'read-schedule-page',
  text: `SELECT ${COLUMNS} FROM taskbridge.proj_schedules s
    WHERE ($1::text IS NULL OR s.tenant_id = $1) AND ($2::text IS NULL OR s.owner_id = $2)
      AND ($3::text IS NULL OR (s.tenant_id, s.owner_id, s.name) > ($3, $4::text, $5::text))
    ORDER BY s.tenant_id, s.owner_id, s.name LIMIT $6`,
};

/** Schedules of an owner, of a tenant, or all, behind this one. */
export async function readSchedulePage(
  db: Queryable,
  { tenantId, ownerId }: Partial<Omit<ScheduleKey, 'name'>>,
  after: ScheduleKey | undefined,
  limit: number,
): Promise<readonly StoredSchedule[]> {
  const place = [after?.tenantId ?? null, after?.ownerId ?? null, after?.name ?? null];
  return (await db.query<Row>(PAGE, [tenantId ?? null, ownerId ?? null, ...place, limit])).map(scheduleOf);
}

const DELETE: Statement = {
  name: 'delete-schedule',
  text: 'DELETE FROM taskbridge.proj_schedules WHERE tenant_id = $1 AND owner_id = $2 AND name = $3 RETURNING name',
};

/** @returns whether it was there */
export async function deleteSchedule(db: Queryable, { tenantId, ownerId, name }: ScheduleKey): Promise<boolean> {
  return (await db.query(DELETE, [tenantId, ownerId, name])).length > 0;
}

/**
 * Index: proj_schedules_next. `$1`: the time to judge by; null: that of the database. From `$2` on, a page begins behind the last one: what
 * was done meanwhile is due no more, so a number of rows to skip would skip others.
 */
const DUE: Statement = {
  name: 'read-due-schedules',
  text: `SELECT ${COLUMNS}, coalesce($1::timestamptz, clock_timestamp()) AS now, p.status AS last_status
    FROM taskbridge.proj_schedules s LEFT JOIN taskbridge.proj_tasks p ON p.task_id = s.last_task_id
    WHERE s.next_at <= coalesce($1::timestamptz, clock_timestamp()) AND s.paused_at IS NULL 
      AND ($2::timestamptz IS NULL OR (s.next_at, s.tenant_id, s.owner_id, s.name) > ($2, $3, $4, $5))
    ORDER BY s.next_at, s.tenant_id, s.owner_id, s.name LIMIT $6`,
};

export interface DueSchedule extends StoredSchedule {
  readonly nextAt: Date;
  readonly now: Date;
  /** Of its last task, if that is there. */
  readonly lastStatus: TaskStatus | null;
}

export async function readDueSchedules(
  db: Queryable,
  now: Date | undefined,
  after: DueSchedule | undefined,
  limit: number,
): Promise<readonly DueSchedule[]> {
  type DueRow = Row & { next_at: Date; now: Date; last_status: TaskStatus | null };
  const { nextAt, tenantId, ownerId, name } = after ?? {};
  const rows = await db.query<DueRow>(DUE, [now ?? null, nextAt ?? null, tenantId, ownerId, name, limit]);
  return rows.map((row) => ({ ...scheduleOf(row), nextAt: row.next_at, now: row.now, lastStatus: row.last_status }));
}

/** Another replica may have done the tick, or the owner may have changed the schedule: then no row is found. */
const LOCK: Statement = {
  name: 'lock-schedule',
  text: `SELECT name FROM taskbridge.proj_schedules
    WHERE tenant_id = $1 AND owner_id = $2 AND name = $3 AND revision = $4 AND next_at = $5 FOR UPDATE`,
};

/** @returns whether the tick is still to be done. Nobody else does it until the transaction is over. */
export async function lockTick(tx: Queryable, schedule: DueSchedule): Promise<boolean> {
  const { tenantId, ownerId, name, revision, nextAt } = schedule;
  return (await tx.query(LOCK, [tenantId, ownerId, name, revision, nextAt])).length > 0;
}

const MOVE: Statement = {
  name: 'move-schedule',
  text: `UPDATE taskbridge.proj_schedules SET next_at = $4, last_at = coalesce($5, last_at), last_task_id = coalesce($6, last_task_id),
      last_skip = $7 WHERE tenant_id = $1 AND owner_id = $2 AND name = $3`,
};

/** What became of a tick. */
export interface Move {
  readonly nextAt: Date | null;
  /** The tick, and its task: absent when it made none. */
  readonly made?: { readonly at: Date; readonly taskId: string };
  readonly skip: Skip | null;
}

export async function moveSchedule(tx: Queryable, key: ScheduleKey, { nextAt, made, skip }: Move): Promise<void> {
  const { tenantId, ownerId, name } = key;
  await tx.query(MOVE, [tenantId, ownerId, name, nextAt, made?.at ?? null, made?.taskId ?? null, skip]);
}

function scheduleOf(row: Row): StoredSchedule {
  return {
    tenantId: row.tenant_id,
    ownerId: row.owner_id,
    name: row.name,
    cron: row.cron,
    timeZone: row.time_zone,
    taskType: row.task_type,
    inputJson: row.input,
    metadataJson: row.metadata,
    overlap: row.overlap,
    catchUp: row.catch_up,
    paused: row.paused,
    principal: row.principal,
    revision: Number(row.revision),
    nextAt: row.next_at,
    lastAt: row.last_at,
    lastTaskId: row.last_task_id,
    lastSkip: row.last_skip,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
