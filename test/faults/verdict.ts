import { check } from '../support/checker.js';
import { connected, findViolations } from '../support/fold.js';
import type { Followed } from './subscriber.js';

export interface Verdict {
  /** The output of the checker: every count, and the first examples of each violation. */
  readonly report: string;
  /** One line for each; empty when every promise was kept. */
  readonly violations: readonly string[];
}

/** The checker judges what clients saw, as it would for an operator; the rows themselves are judged beside it. */
export async function judge(
  superuserUrl: string,
  taskIds: readonly string[],
  followed: readonly Pick<Followed, 'history' | 'oddities'>[],
): Promise<Verdict> {
  const created = taskIds.map((taskId) => ({ kind: 'created', taskId }));
  const { report, code } = await check([created, ...followed.map(({ history }) => history)], superuserUrl);
  const open = await connected(superuserUrl, (db) =>
    db.query<{ id: string; status: string }>(
      "SELECT task_id AS id, status FROM taskbridge.proj_tasks WHERE status IN ('ACCEPTED', 'RUNNING')",
    ),
  );
  return {
    report,
    violations: [
      ...(code === 0 ? [] : [`the checker exits with ${code}`]),
      ...followed.flatMap(({ oddities }) => oddities),
      ...open.rows.map(({ id, status }) => `task ${id} is still ${status}`),
      ...(await findViolations(superuserUrl, { quiescent: true })),
    ],
  };
}
