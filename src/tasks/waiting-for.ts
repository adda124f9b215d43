import type { Queryable } from '../database/queryable.js';
import { findUnclaimable } from './store/find-unclaimable.js';
import type { TaskView } from './store/read-task-view.js';

/**
 * Says of due tasks that they wait for a worker: they have a finished step, and no live worker claims them that knows steps.
 * `ownTypes`: those that this service executes itself.
 */
export async function withWaitingFor(
  db: Queryable,
  ownTypes: readonly string[],
  views: readonly TaskView[],
): Promise<readonly TaskView[]> {
  const due = views.filter(
    ({ isDue, attempt, identity }) => isDue && attempt > 0 && !ownTypes.includes(identity.taskType),
  );
  if (due.length === 0) return views;
  const found = await findUnclaimable(
    db,
    due.map(({ identity }) => identity.taskId),
  );
  return views.map((view) => (found.has(view.identity.taskId) ? { ...view, waitingFor: 'worker' } : view));
}
