import type { Queryable, Statement } from '../../database/queryable.js';
import { UNPLANNED } from './unplanned-tasks.js';

// The order of the queue, for each task type: start-time fair queueing. `vtime` is the place of a task, in turns of each owner. The
// time of a type, `now` here, is the largest place of a task that was claimed for the first time. Places do not depend on clocks.

/** The highest priority, which has no offset. */
const FIRST_PRIORITY = 9;
/** For each step of priority, this many later tasks of every owner come before. */
const TURNS_OF_PRIORITY = 25;
/** A first task comes this much after `now`. So `now` moves also when each task is of another owner, and nobody starves. */
export const FIRST_TURN = 0.25;

export const offsetOf = (priority: string) => `(${FIRST_PRIORITY} - ${priority}) * ${TURNS_OF_PRIORITY}`;

/** Index: proj_tasks_places. The last place of an owner in a type, of one priority; null without an open task. */
export const lastPlaceOf = (owner: string, priority: string) => `(SELECT max(p.vtime) FROM taskbridge.proj_tasks p
  WHERE p.tenant_id = ${owner}.tenant_id AND p.owner_id = ${owner}.owner_id AND p.task_type = ${owner}.task_type
    AND p.priority = ${priority} AND p.finished_at IS NULL)`;

/** The present time of a type. */
export interface TypeTime {
  readonly taskType: string;
  readonly now: number;
}

/** The last ended tasks that are looked at. */
const ENDED = 200;

/** Not before its plan is made: the time of a place is that of a claim, which judges by the plan. */
const IS_PLANNED = `t.hold_key IS DISTINCT FROM '${UNPLANNED}'`;

/**
 * Whether tasks are due that have no place. Index: proj_tasks_unplaced, of which one row: the time is that of the statement, as no
 * index is searched by clock_timestamp(). Tasks whose time has not come may be many.
 */
export const IS_DUE = `EXISTS (SELECT FROM taskbridge.proj_tasks t WHERE t.vtime IS NULL AND t.claimable_at <= statement_timestamp()
  AND ${IS_PLANNED})`;

/**
 * Indexes: proj_tasks_running; proj_tasks_finished, of which the last rows; proj_tasks_queue, one row of each type. What runs or has
 * ended lately was claimed in the order of places. Where nothing was, the time is that of the first in line. A row without a type says
 * that tasks are due and have no place; index: proj_tasks_unplaced.
 */
const READ_TIMES: Statement = {
  name: 'read-queue-times',
  text: `WITH RECURSIVE first AS (
      (SELECT t.task_type, t.vtime, t.priority FROM taskbridge.proj_tasks t
        WHERE t.claimable_at IS NOT NULL AND t.vtime IS NOT NULL ORDER BY t.task_type, t.vtime LIMIT 1)
      UNION ALL
      SELECT following.* FROM first CROSS JOIN LATERAL (
        SELECT t.task_type, t.vtime, t.priority FROM taskbridge.proj_tasks t
        WHERE t.claimable_at IS NOT NULL AND t.vtime IS NOT NULL AND t.task_type > first.task_type
        ORDER BY t.task_type, t.vtime LIMIT 1) following
    ), ended AS (
      SELECT t.task_type, t.vtime, t.priority, t.attempt FROM taskbridge.proj_tasks t WHERE t.finished_at IS NOT NULL
      ORDER BY t.finished_at DESC LIMIT ${ENDED}
    )
    SELECT task_type AS "taskType", max(vtime - ${offsetOf('priority')}) AS now FROM (
      SELECT * FROM first
      UNION ALL SELECT t.task_type, t.vtime, t.priority FROM taskbridge.proj_tasks t WHERE t.lease_token IS NOT NULL
      UNION ALL SELECT task_type, vtime, priority FROM ended WHERE attempt > 0
    ) AS served WHERE vtime IS NOT NULL GROUP BY task_type
    UNION ALL SELECT NULL, NULL WHERE ${IS_DUE}`,
};

/** The times of all types, and whether tasks are due that have no place. */
export async function readTimes(
  db: Queryable,
): Promise<{ readonly times: readonly TypeTime[]; readonly isDue: boolean }> {
  const rows = await db.query<TypeTime | { taskType: null }>(READ_TIMES, []);
  const times = rows.filter((row) => row.taskType !== null);
  return { times, isDue: times.length < rows.length };
}

/** One session at a time gives places, so two do not give an owner the same ones. */
const TAKE_TURN: Statement = {
  name: 'take-turn-of-places',
  text: 'SELECT pg_try_advisory_xact_lock(7461740) AS "isMine"',
};

/**
 * Index: proj_tasks_unplaced. Tasks that have become due. A new one comes behind the last of its owner; one that comes back, at the
 * present time. `$2`, `$3`: the times of types.
 */
const PLACE: Statement = {
  name: 'place-tasks',
  text: `WITH due AS MATERIALIZED (
      SELECT t.task_id, t.tenant_id, t.owner_id, t.task_type, t.priority, t.claimable_at, t.attempt > 0 AS comes_back
      FROM taskbridge.proj_tasks t WHERE t.vtime IS NULL AND t.claimable_at <= statement_timestamp() AND ${IS_PLANNED}
      ORDER BY t.claimable_at LIMIT $1 FOR UPDATE SKIP LOCKED
    ), line AS MATERIALIZED (
      SELECT o.*, coalesce(time.now, 0) AS now,
        greatest(coalesce(time.now, 0) + ${FIRST_TURN} + ${offsetOf('o.priority')}, ${lastPlaceOf('o', 'o.priority')} + 1) AS next
      FROM (SELECT DISTINCT tenant_id, owner_id, task_type, priority FROM due) AS o
      LEFT JOIN unnest($2::text[], $3::float8[]) AS time (task_type, now) USING (task_type)
    ), placed AS (
      SELECT task_id, CASE WHEN comes_back THEN now ELSE next - 1 + row_number() OVER (
        PARTITION BY tenant_id, owner_id, task_type, priority, comes_back ORDER BY claimable_at, task_id) END AS place
      FROM due JOIN line USING (tenant_id, owner_id, task_type, priority)
    )
    UPDATE taskbridge.proj_tasks t SET vtime = p.place FROM placed p WHERE t.task_id = p.task_id RETURNING t.task_type AS "taskType"`,
};

const DUE: Statement = {
  name: 'has-unplaced-tasks',
  text: `SELECT ${IS_DUE} AS "isDue"`,
};

/** Takes no lock. */
export async function hasUnplaced(db: Queryable): Promise<boolean> {
  const [row] = await db.query<{ isDue: boolean }>(DUE, []);
  return row?.isDue === true;
}

/** @returns the types of the tasks that got a place; none while another session gives places */
export async function placeTasks(
  tx: Queryable,
  times: readonly TypeTime[],
  atMost: number,
): Promise<readonly string[]> {
  const [turn] = await tx.query<{ isMine: boolean }>(TAKE_TURN, []);
  if (turn?.isMine !== true) return [];
  const columns = [times.map(({ taskType }) => taskType), times.map(({ now }) => now)];
  const rows = await tx.query<{ taskType: string }>(PLACE, [atMost, ...columns]);
  return rows.map(({ taskType }) => taskType);
}
