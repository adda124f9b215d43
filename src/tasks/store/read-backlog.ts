import type { Queryable, Statement } from '../../database/queryable.js';

export interface Backlog {
  /** Tasks that wait for a claim, also those that become claimable later. */
  readonly waiting: number;
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

/**
 * Index: proj_tasks_open, from which no more than `$1` rows are read, and proj_tasks_claimable and proj_tasks_finished, of which
 * one is; proj_tasks_unattended. Takes no lock. Times are subtracted as numbers: an infinite one has no interval. The age is
 * exact below `$1` tasks. Above, it is at least the age of the longest waiting claimable task.
 */
const BACKLOG: Statement = {
  name: 'read-backlog',
  text: `SELECT
      count(*) FILTER (WHERE open.claimable_at IS NOT NULL)::int AS waiting,
      count(*) FILTER (WHERE open.lease_token IS NOT NULL)::int AS running,
      count(*) FILTER (WHERE open.suspend_id IS NOT NULL AND open.claimable_at IS NULL AND open.lease_token IS NULL)::int AS suspended,
      (SELECT count(*)::int FROM taskbridge.proj_tasks t WHERE t.finished_at IS NULL AND t.claimable_at IS NULL
        AND t.lease_token IS NULL AND t.suspend_id IS NULL AND t.aside_code IS NOT NULL) AS aside,
      ${ageOf('least(min(open.created_at), min(longest.created_at))')} AS oldest,
      ${ageOf('min(longest.claimable_at)')} AS oldest_claimable,
      (SELECT ${ageOf('min(t.finished_at)')} FROM taskbridge.proj_tasks t WHERE t.finished_at IS NOT NULL) AS oldest_ended
    FROM (
      SELECT t.claimable_at, t.lease_token, t.suspend_id, t.created_at FROM taskbridge.proj_tasks t
      WHERE t.finished_at IS NULL LIMIT $1) open
    LEFT JOIN (
      SELECT t.claimable_at, t.created_at FROM taskbridge.proj_tasks t
      WHERE t.claimable_at <= clock_timestamp() ORDER BY t.claimable_at, t.task_id LIMIT 1) longest ON true`,
};

export async function readBacklog(db: Queryable): Promise<Backlog> {
  type Row = {
    waiting: number;
    running: number;
    suspended: number;
    aside: number;
    oldest: number | null;
    oldest_claimable: number | null;
    oldest_ended: number | null;
  };
  const [row] = await db.query<Row>(BACKLOG, [MOST_COUNTED]);
  const { waiting = 0, running = 0, suspended = 0, aside = 0 } = row ?? {};
  return {
    waiting,
    running,
    suspended,
    aside,
    oldestSeconds: Math.max(0, row?.oldest ?? 0),
    oldestClaimableSeconds: Math.max(0, row?.oldest_claimable ?? 0),
    oldestEndedSeconds: Math.max(0, row?.oldest_ended ?? 0),
  };
}
