import type { Queryable, Statement } from '../../database/queryable.js';
import type { Plan } from '../domain/plan.js';

/** `hold_key` of a task that taskbridge.create_task has made, until this service has added what the policy of its type says. */
export const UNPLANNED = 'plan';

export interface UnplannedTask {
  readonly taskId: string;
  readonly taskType: string;
  readonly inputJson: string | null;
  readonly metadataJson: string | null;
}

/** Index: proj_tasks_held. Takes no lock: two replicas make the same plan. */
const READ: Statement = {
  name: 'read-unplanned-tasks',
  text: `SELECT t.task_id AS "taskId", t.task_type AS "taskType", t.input::text AS "inputJson", t.metadata::text AS "metadataJson"
    FROM taskbridge.proj_tasks t WHERE t.hold_key = '${UNPLANNED}' LIMIT $1`,
};

export function readUnplanned(db: Queryable, atMost: number): Promise<readonly UnplannedTask[]> {
  return db.query<UnplannedTask>(READ, [atMost]);
}

/** Index: the primary key. As insert-planned-tasks does it: times count from when the task may begin. */
const PLAN: Statement = {
  name: 'plan-tasks',
  text: `WITH plan AS (
      SELECT t.task_id, p.plan FROM unnest($1::uuid[], $2::json[]) AS p (task_id, plan) JOIN taskbridge.proj_tasks t USING (task_id)
      WHERE t.hold_key = '${UNPLANNED}' ORDER BY t.task_id FOR UPDATE OF t SKIP LOCKED
    )
    UPDATE taskbridge.proj_tasks t SET hold_key = NULL,
      concurrency_key = plan ->> 'concurrencyKey', rate_key = plan ->> 'rateKey',
      start_deadline_at = t.claimable_at + make_interval(secs => (plan ->> 'startSeconds')::float8),
      deadline_at = least(t.deadline_at, t.claimable_at + make_interval(secs => (plan ->> 'finishSeconds')::float8))
    FROM plan WHERE t.task_id = plan.task_id RETURNING t.task_id`,
};

/** @returns how many of them had no plan yet */
export async function planTasks(
  db: Queryable,
  plans: readonly { readonly taskId: string; readonly plan: Plan }[],
): Promise<number> {
  const values = [plans.map(({ taskId }) => taskId), plans.map(({ plan }) => JSON.stringify(plan))];
  return (await db.query(PLAN, values)).length;
}
