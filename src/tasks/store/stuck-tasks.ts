import { MAX_SCANNED_TASKS, type StuckKind } from '#protocol/operators.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { TaskScope } from '../domain/task-scope.js';
import { isLive } from '../../database/live-replica.js';
import { ASKED } from './open-questions.js';
import { byScope, kindOf, type ScopeKind, valuesOf, whoseOf } from './whose.js';

/** A question without an end is overdue after this time. */
export const OPEN_FOR_HOURS = 24;

export interface StuckRow {
  readonly taskId: string;
  readonly since: Date;
  /** What the reason names: a worker, a time, a number, a code. */
  readonly detail: string | null;
}

const WHOSE = whoseOf('t');

/** At most MAX_SCANNED_TASKS rows, in an order that an index gives: a rare match costs no more than a frequent one. */
const some = (where: string, order: string, most = MAX_SCANNED_TASKS) =>
  `(SELECT t.*, ${ASKED} AS asked FROM taskbridge.proj_tasks t WHERE ${where} ORDER BY ${order} LIMIT ${most}) AS t`;
/** Of each type: the queue goes by turns, so none of the others waits much longer. With more PostgreSQL would sort the queue. */
const FIRST_IN_LINE = 20;
const DETAIL = 'NULL::text AS detail';

/** Index: proj_tasks_running. A worker renews its lease three times in its length: this one missed two renewals. */
const LEASE_LENGTH = `make_interval(secs => coalesce((substring(t.lease_token FROM '^\\d+\\.[0-9a-f-]{36}\\.(\\d{1,5})$'))::float8, $4::float8))`;
const silentLease = (
  whose: string,
) => `SELECT t.task_id AS "taskId", t.lease_expires_at - ${LEASE_LENGTH} AS since, t.worker_id AS detail
  FROM ${some('t.lease_token IS NOT NULL', 't.task_type')}
  WHERE ${whose} AND t.lease_expires_at < clock_timestamp() + ${LEASE_LENGTH} / 3`;

/** Index: proj_tasks_retried. */
const retrying = (whose: string) => `SELECT t.task_id AS "taskId", coalesce(t.started_at, t.created_at) AS since,
    CASE WHEN t.lease_token IS NULL THEN to_char(t.claimable_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END AS detail
  FROM ${some('t.finished_at IS NULL AND t.spent_attempts > 0', 't.task_id')}
  WHERE ${whose} AND t.aside_code IS NULL AND t.suspend_id IS NULL AND $4::float8 IS NOT NULL`;

/** A worker lives when it has claimed within a minute, or holds a lease. */
export const LIVE_WORKERS = `SELECT w.* FROM taskbridge.proj_workers w WHERE w.seen_at > clock_timestamp() - interval '1 minute'
    OR w.worker_id IN (SELECT l.worker_id FROM taskbridge.proj_tasks l WHERE l.lease_token IS NOT NULL)`;
/** Types that a replica that lives executes itself. */
export const REPLICAS_TYPES = `SELECT json_array_elements_text(r.facts -> 'taskTypes') FROM taskbridge.proj_replicas r
    WHERE ${isLive('r')} AND json_typeof(r.facts -> 'taskTypes') = 'array'`;
/** The types of tasks that are in the queue. Index: proj_tasks_queue, of which one row of each type is read. */
export const QUEUED_TYPES = `(SELECT t.task_type FROM taskbridge.proj_tasks t WHERE t.claimable_at IS NOT NULL AND t.vtime IS NOT NULL
        ORDER BY t.task_type LIMIT 1)
      UNION ALL
      SELECT following.task_type FROM queued CROSS JOIN LATERAL (
        SELECT t.task_type FROM taskbridge.proj_tasks t
        WHERE t.claimable_at IS NOT NULL AND t.vtime IS NOT NULL AND t.task_type > queued.task_type ORDER BY t.task_type LIMIT 1) following`;

const QUEUED = 't.task_type = lonely.task_type AND t.claimable_at IS NOT NULL AND t.vtime IS NOT NULL';
/** Of an owner, its tasks that are not over, by proj_tasks_places; else the first of each type, by proj_tasks_queue. */
const IN_LINE = { owner: `${WHOSE.owner} AND t.finished_at IS NULL AND ${QUEUED}`, tenant: QUEUED, all: QUEUED };
const noWorker = (whose: string, scope: ScopeKind) => `WITH RECURSIVE queued AS (${QUEUED_TYPES}),
  live AS MATERIALIZED (${LIVE_WORKERS}), executed AS MATERIALIZED (${REPLICAS_TYPES}),
  lonely AS MATERIALIZED (SELECT queued.task_type FROM queued WHERE NOT EXISTS (SELECT FROM live WHERE queued.task_type = ANY (live.task_types))
    AND queued.task_type NOT IN (SELECT * FROM executed)
    AND NOT EXISTS (SELECT FROM taskbridge.proj_task_types p WHERE p.task_type = queued.task_type AND p.paused_at IS NOT NULL))
  SELECT t.task_id AS "taskId", t.claimable_at AS since, ${DETAIL} FROM lonely CROSS JOIN LATERAL (
    SELECT t.* FROM ${some(IN_LINE[scope], 't.vtime', scope === 'owner' ? MAX_SCANNED_TASKS : FIRST_IN_LINE)}
    WHERE ${whose} AND t.claimable_at <= clock_timestamp() ORDER BY t.vtime LIMIT $3) AS t
  WHERE $4::float8 IS NOT NULL`;

/** Index: proj_tasks_asking. The head of a task that asks is its TASK_SUSPENDED. */
const overdueQuestion = (whose: string) => `SELECT t.task_id AS "taskId", coalesce(e.created_at, t.updated_at) AS since,
    to_char(t.suspend_expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS detail
  FROM ${some('t.suspend_id IS NOT NULL', `${ASKED}, t.task_id`)}
    LEFT JOIN taskbridge.events e ON e.task_id = t.task_id AND e.event_id = t.head_event_id
  WHERE ${whose} AND $4::float8 IS NOT NULL AND (t.suspend_expires_at <= clock_timestamp() OR (t.suspend_expires_at IS NULL
    AND coalesce(e.created_at, t.updated_at) <= clock_timestamp() - interval '${OPEN_FOR_HOURS} hours'))`;

/** Index: proj_tasks_ownerless. The code is judged outside: with it PostgreSQL expects one row, and would rather sort all open tasks. */
const aside = (whose: string) => `SELECT t.task_id AS "taskId", t.updated_at AS since, t.aside_code AS detail
  FROM ${some(
    't.finished_at IS NULL AND t.claimable_at IS NULL AND t.lease_token IS NULL AND t.suspend_id IS NULL AND t.hold_key IS NULL',
    't.task_id',
  )} WHERE ${whose} AND t.aside_code IS NOT NULL AND $4::float8 IS NOT NULL`;

const FIND: Readonly<Record<StuckKind, (whose: string, scope: ScopeKind) => string>> = {
  silent_lease: silentLease,
  retrying,
  no_worker: noWorker,
  overdue_question: overdueQuestion,
  aside,
};
/** The order of the index, where it is that of the time: the search ends when it has enough. */
const ORDER: Readonly<Record<StuckKind, string>> = {
  silent_lease: 'since',
  retrying: 't.task_id',
  no_worker: 'since',
  overdue_question: 't.asked, t.task_id',
  aside: 't.task_id',
};
const STATEMENTS = byScope((scope: ScopeKind) =>
  Object.fromEntries(
    Object.entries(FIND).map(([kind, text]) => [
      kind,
      {
        name: `find-${kind.replaceAll('_', '-')}-of-${scope}`,
        text: `${text(WHOSE[scope], scope)} ORDER BY ${ORDER[kind as StuckKind]} LIMIT $3`,
      },
    ]),
  ),
) as Readonly<Record<ScopeKind, Readonly<Record<StuckKind, Statement>>>>;

/** At most `limit` tasks that are stuck in this way, the oldest first. `leaseSeconds`: of leases that name no length. */
export async function findStuck(
  db: Queryable,
  kind: StuckKind,
  scope: TaskScope,
  limit: number,
  leaseSeconds: number,
): Promise<readonly StuckRow[]> {
  const values = [...valuesOf(scope), limit, leaseSeconds];
  return db.query<StuckRow>(STATEMENTS[kindOf(scope)][kind], values);
}
