import { MAX_COUNTED } from '#protocol/operators.js';
import type { TaskStatus } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { TaskScope } from '../domain/task-scope.js';
import { byScope, kindOf, valuesOf, whoseOf } from './whose.js';

export interface CountRow {
  readonly taskType: string;
  readonly status: TaskStatus;
  readonly n: number;
}

const WHOSE = whoseOf('t');

/**
 * Tasks that have begun or ended are counted by triggers. The others are counted where they wait, MAX_COUNTED of them at most. Indexes: the
 * primary key of proj_task_counts; proj_tasks_places.
 */
const COUNT = byScope(
  (kind): Statement => ({
    name: `count-tasks-of-${kind}`,
    text: `WITH open AS MATERIALIZED (
      SELECT t.task_type, t.status FROM taskbridge.proj_tasks t WHERE t.finished_at IS NULL AND ${WHOSE[kind]} LIMIT ${MAX_COUNTED + 1}
    )
    SELECT task_type AS "taskType", status, sum(n)::float8 AS n FROM (
      SELECT t.task_type, t.status, t.n FROM taskbridge.proj_task_counts t WHERE ${WHOSE[kind]}
      UNION ALL SELECT t.task_type, t.new_status, t.n FROM taskbridge.proj_task_count_changes t
        WHERE t.new_status IS NOT NULL AND ${WHOSE[kind]}
      UNION ALL SELECT t.task_type, t.old_status, -t.n FROM taskbridge.proj_task_count_changes t
        WHERE t.old_status IS NOT NULL AND ${WHOSE[kind]}
      UNION ALL SELECT task_type, status, count(*) FROM open WHERE status = 'ACCEPTED' GROUP BY task_type, status
      UNION ALL SELECT '', '', count(*) FROM open
    ) AS counted GROUP BY task_type, status HAVING sum(n) > 0 ORDER BY task_type COLLATE "C", status`,
  }),
);

/** By type, in the order of names. `open`: tasks that are not over, at most one more than MAX_COUNTED. */
export async function countTasks(
  db: Queryable,
  scope: TaskScope,
): Promise<{ readonly counts: readonly CountRow[]; readonly open: number }> {
  const rows = await db.query<CountRow>(COUNT[kindOf(scope)], valuesOf(scope));
  const open = rows.find(({ taskType }) => taskType === '')?.n ?? 0;
  return { counts: rows.filter(({ taskType }) => taskType !== ''), open };
}
