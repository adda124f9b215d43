import type { Queryable } from '../database/queryable.js';
import type { TaskPolicies } from './task-policies.js';
import { findWaits } from './store/find-waits.js';
import type { TaskView } from './store/read-task-view.js';

/**
 * Says of due tasks what they wait for: room within a limit, a worker that takes them, or, while such workers live, one of them to be
 * free.
 */
export async function withWaitingFor(
  db: Queryable,
  policies: TaskPolicies,
  views: readonly TaskView[],
): Promise<readonly TaskView[]> {
  const due = views.filter(({ isDue, waitingFor }) => isDue && waitingFor === null);
  if (due.length === 0) return views;
  const found = await findWaits(
    db,
    due.map(({ identity }) => identity.taskId),
    policies.limitsOf(due.map(({ identity }) => identity.taskType)) ?? {},
  );
  return views.map((view) => {
    const waitingFor = view.waitingFor ?? found.get(view.identity.taskId);
    return waitingFor ? { ...view, waitingFor } : view;
  });
}
