import type { Queryable, Statement } from '../../database/queryable.js';
import { NEXT_REVISION } from './set-aside.js';

// The statements of `npm run rollback`, as the owner: they read the whole table, once, and are named in no service.

const OPEN = "status IN ('ACCEPTED', 'RUNNING')";

/** A bounded step. Who holds a row's lock changes it at this moment: the next step finds it. */
const FREE: Statement = {
  name: 'free-held-tasks',
  text: `WITH held AS (
      SELECT task_id FROM taskbridge.proj_tasks
      WHERE ${OPEN} AND hold_key IS NOT NULL AND executor = 'lease' AND aside_code IS NULL
        AND claimable_at IS NULL AND lease_token IS NULL
      LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    UPDATE taskbridge.proj_tasks t SET hold_key = NULL, vtime = NULL, claimable_at = clock_timestamp(),
      updated_at = clock_timestamp(), revision = ${NEXT_REVISION}
    FROM held WHERE t.task_id = held.task_id RETURNING t.task_id`,
};

/** @returns how many tasks are free now; 0 when none is held */
export async function freeHeldTasks(db: Queryable, atMost: number): Promise<number> {
  return (await db.query(FREE, [atMost])).length;
}

export interface BlockingTask {
  readonly taskId: string;
  /** Why it is set aside; null when it is not. */
  readonly asideCode: string | null;
  /** `lease`, or the engine that runs it. */
  readonly executor: string;
}

const BLOCKING: Statement = {
  name: 'tasks-that-block-a-rollback',
  text: `SELECT task_id AS "taskId", aside_code AS "asideCode", executor FROM taskbridge.proj_tasks
    WHERE ${OPEN} AND (aside_code IS NOT NULL OR executor <> 'lease') ORDER BY task_id`,
};

/** Tasks that 0.1.0 would leave as they are, and that nothing would go on with. */
export function tasksThatBlockARollback(db: Queryable): Promise<readonly BlockingTask[]> {
  return db.query<BlockingTask>(BLOCKING, []);
}
