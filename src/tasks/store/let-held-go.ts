import type { Queryable, Statement } from '../../database/queryable.js';
import type { LimitsByType } from '../domain/limits.js';

/** Index: proj_tasks_held, of which the first of each key are read. */
const LET_GO: Statement = {
  name: 'let-held-tasks-go',
  text: `SELECT gone AS "taskType" FROM taskbridge.let_held_go($1::jsonb) AS gone`,
};

/** @returns the types of tasks that went back to the queue, since a key has room that held them */
export async function letHeldTasksGo(db: Queryable, limits: LimitsByType): Promise<readonly string[]> {
  return (await db.query<{ taskType: string }>(LET_GO, [JSON.stringify(limits)])).map(({ taskType }) => taskType);
}
