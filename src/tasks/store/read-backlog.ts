import type { Queryable, Statement } from '../../database/queryable.js';

export interface Backlog {
  /** Tasks that wait for a claim, also those that become claimable later. */
  readonly waiting: number;
  /** Tasks that a full key keeps out of the queue. */
  readonly held: number;
  readonly pausedTypes: number;
  /** Bulks that are not finished. */
  readonly bulks: number;
  readonly running: number;
  /** Tasks with an open question. */
  readonly suspended: number;
  /** All tasks that are set aside. */
  readonly aside: number;
  /** Age of the oldest task that is not over. 0 when there is none. */
  readonly oldestSeconds: number;
  /** How long the longest waiting task has been claimable. 0 when none is. */
  readonly oldestClaimableSeconds: number;
  /** Age of the oldest ended task that is still stored, since its end. 0 when none has ended. */
  readonly oldestEndedSeconds: number;
}

/** The count stops here: a higher number would cost more than it helps. */
const MOST_COUNTED = 10_000;

const ageOf = (time: string) => `(extract(epoch FROM clock_timestamp()) - extract(epoch FROM ${time}))::float8`;

/** Of each type, this many of the first in the queue are looked at. None of the others waits much longer: the queue goes by turns. */
const FIRST_IN_LINE = 100;

/**
 * Indexes: proj_tasks_places, from which no more than `$1` rows are read; proj_tasks_finished, of which one is; proj_tasks_queue and
 * proj_tasks_unplaced, of which the first of each type are; proj_tasks_ownerless; proj_bulk_runs_due. Takes no lock. Times are subtracted as numbers: an
 * infinite one has no interval. Ages are exact below `$1` tasks. Above, they are those of the rows that were read.
 */
const BACKLOG: Statement = {
  name: 'read-backlog',
  text: `WITH RECURSIVE type AS (
      (SELECT t.task_type FROM taskbridge.proj_tasks t WHERE t.claimable_at IS NOT NULL AND t.vtime IS NOT NULL
        ORDER BY t.task_type LIMIT 1)
      UNION ALL
      SELECT following.task_type FROM type CROSS JOIN LATERAL (
        SELECT t.task_type FROM taskbridge.proj_tasks t
        WHERE t.claimable_at IS NOT NULL AND t.vtime IS NOT NULL AND t.task_type > type.task_type ORDER BY t.task_type LIMIT 1) following
    ), open AS MATERIALIZED (
      SELECT t.claimable_at, t.lease_token, t.suspend_id, t.hold_key, t.created_at FROM taskbridge.proj_tasks t
      WHERE t.finished_at IS NULL LIMIT $1
    ), known AS (
      SELECT claimable_at, created_at FROM open
      UNION ALL SELECT first.claimable_at, first.created_at FROM type CROSS JOIN LATERAL (
        SELECT t.claimable_at, t.created_at FROM taskbridge.proj_tasks t
        WHERE t.task_type = type.task_type AND t.claimable_at IS NOT NULL AND t.vtime IS NOT NULL
        ORDER BY t.vtime LIMIT ${FIRST_IN_LINE}) first
      UNION ALL (SELECT t.claimable_at, t.created_at FROM taskbridge.proj_tasks t
        WHERE t.claimable_at IS NOT NULL AND t.vtime IS NULL ORDER BY t.claimable_at LIMIT 1)
    )
    SELECT
      count(*) FILTER (WHERE open.claimable_at IS NOT NULL)::int AS waiting,
      count(*) FILTER (WHERE open.hold_key IS NOT NULL AND open.claimable_at IS NULL AND open.lease_token IS NULL AND open.suspend_id IS NULL)::int AS held,
      (SELECT count(*)::int FROM taskbridge.proj_task_types p WHERE p.paused_at IS NOT NULL) AS paused_types,
      (SELECT count(*)::int FROM taskbridge.proj_bulk_runs b WHERE b.due_at IS NOT NULL) AS bulks,
      count(*) FILTER (WHERE open.lease_token IS NOT NULL)::int AS running,
      count(*) FILTER (WHERE open.suspend_id IS NOT NULL AND open.claimable_at IS NULL AND open.lease_token IS NULL)::int AS suspended,
      (SELECT count(*)::int FROM taskbridge.proj_tasks t WHERE t.finished_at IS NULL AND t.claimable_at IS NULL
        AND t.lease_token IS NULL AND t.suspend_id IS NULL AND t.hold_key IS NULL AND t.aside_code IS NOT NULL) AS aside,
      (SELECT ${ageOf('min(created_at)')} FROM known) AS oldest,
      (SELECT ${ageOf('min(claimable_at)')} FROM known WHERE claimable_at <= clock_timestamp()) AS oldest_claimable,
      (SELECT ${ageOf('min(t.finished_at)')} FROM taskbridge.proj_tasks t WHERE t.finished_at IS NOT NULL) AS oldest_ended
    FROM open`,
};

export async function readBacklog(db: Queryable): Promise<Backlog> {
  type Row = {
    waiting: number;
    held: number;
    paused_types: number;
    bulks: number;
    running: number;
    suspended: number;
    aside: number;
    oldest: number | null;
    oldest_claimable: number | null;
    oldest_ended: number | null;
  };
  const [row] = await db.query<Row>(BACKLOG, [MOST_COUNTED]);
  const { waiting = 0, held = 0, paused_types: pausedTypes = 0, bulks = 0 } = row ?? {};
  const { running = 0, suspended = 0, aside = 0 } = row ?? {};
  return {
    waiting,
    held,
    pausedTypes,
    bulks,
    running,
    suspended,
    aside,
    oldestSeconds: Math.max(0, row?.oldest ?? 0),
    oldestClaimableSeconds: Math.max(0, row?.oldest_claimable ?? 0),
    oldestEndedSeconds: Math.max(0, row?.oldest_ended ?? 0),
  };
}
