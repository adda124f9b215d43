import { MAX_COUNTED } from '#protocol/operators.js';
import type { TaskPolicy } from '#protocol/policies.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { Merged } from '../domain/merge-policies.js';
import { LIVE_WORKERS, QUEUED_TYPES, REPLICAS_TYPES } from './stuck-tasks.js';
import { IS_HELD } from './task-row.js';

/** The count of the waiting tasks of a type stops here. */
export const MOST_WAITING = 1_000;

export interface TypeOverview {
  readonly taskType: string;
  readonly policy: TaskPolicy | null;
  readonly from: Merged['from'] | null;
  readonly pausedAt: Date | null;
  readonly pausedBy: string | null;
  readonly pauseReason: string | null;
  readonly workers: number;
  readonly running: number;
  /** At most MOST_WAITING and one. */
  readonly waiting: number;
  readonly heldByConcurrency: number;
  readonly heldByRate: number;
  /** Of all types together; at most MAX_COUNTED and one. */
  readonly heldInAll: number;
}

/**
 * Types that have a policy, a pause, a worker, a replica that executes them, or a task that waits or runs. Indexes: the primary keys of the
 * types; proj_tasks_queue, proj_tasks_running and proj_tasks_held, of which a bounded number of rows is read.
 */
const LIST: Statement = {
  name: 'list-task-types',
  text: `WITH RECURSIVE queued AS (${QUEUED_TYPES}), live AS MATERIALIZED (${LIVE_WORKERS}),
    running AS MATERIALIZED (
      SELECT t.task_type, count(*)::int AS n FROM taskbridge.proj_tasks t WHERE t.lease_token IS NOT NULL GROUP BY t.task_type
    ), held AS MATERIALIZED (
      SELECT t.task_type, split_part(t.hold_key, ':', 1) AS why, count(*)::int AS n FROM (
        SELECT * FROM taskbridge.proj_tasks t WHERE ${IS_HELD} ORDER BY t.hold_key LIMIT ${MAX_COUNTED + 1}) AS t
      GROUP BY t.task_type, why
    ), name AS (
      SELECT task_type FROM taskbridge.proj_task_types UNION SELECT task_type FROM taskbridge.proj_task_type_versions
      UNION SELECT task_type FROM queued UNION SELECT task_type FROM running UNION SELECT task_type FROM held
      UNION SELECT unnest(live.task_types) FROM live UNION ${REPLICAS_TYPES}
    ), page AS MATERIALIZED (
      SELECT task_type FROM name WHERE task_type COLLATE "C" > $1 ORDER BY task_type COLLATE "C" LIMIT $2
    )
    SELECT page.task_type AS "taskType", p.policy, p.policy_from AS "from", p.paused_at AS "pausedAt", p.paused_by AS "pausedBy",
      p.pause_reason AS "pauseReason",
      (SELECT count(*)::int FROM live WHERE page.task_type = ANY (live.task_types)) AS workers,
      coalesce((SELECT r.n FROM running r WHERE r.task_type = page.task_type), 0) AS running,
      (SELECT count(*)::int FROM (SELECT FROM taskbridge.proj_tasks t WHERE t.task_type = page.task_type AND t.claimable_at IS NOT NULL
        AND t.vtime IS NOT NULL LIMIT ${MOST_WAITING + 1}) AS counted) AS waiting,
      coalesce((SELECT h.n FROM held h WHERE h.task_type = page.task_type AND h.why = 'concurrency'), 0) AS "heldByConcurrency",
      coalesce((SELECT h.n FROM held h WHERE h.task_type = page.task_type AND h.why = 'rate'), 0) AS "heldByRate",
      (SELECT coalesce(sum(h.n), 0)::int FROM held h) AS "heldInAll"
    FROM page LEFT JOIN taskbridge.proj_task_types p USING (task_type) ORDER BY page.task_type COLLATE "C"`,
};

/** Those whose names come after `after`. */
export function listTypes(db: Queryable, after: string, limit: number): Promise<readonly TypeOverview[]> {
  return db.query<TypeOverview>(LIST, [after, limit]);
}
