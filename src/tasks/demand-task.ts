import type { AuthContext } from '../auth/auth-context.js';
import type { Queryable } from '../database/queryable.js';
import { reaches } from '../ownership/owner-policy.js';
import type { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { isTaskId } from './domain/task-id.js';
import { TaskNotFound } from './domain/tasks.errors.js';
import { readTaskHead, type TaskHead } from './store/read-task-view.js';

/**
 * The owner is read first, and the rest only after the policy's yes: a stranger's question costs the same for every task.
 * @throws TaskNotFound when there is no such task to which the caller has this right
 */
export async function demandTask(
  db: Queryable,
  ownership: OwnershipPolicy,
  right: 'mayRead' | 'mayControl',
  auth: AuthContext,
  taskId: string,
): Promise<TaskHead> {
  const head = isTaskId(taskId) ? await readTaskHead(db, taskId) : undefined;
  if (!head || !reaches(auth, head.identity) || !(await ownership[right](auth, head.identity)))
    throw new TaskNotFound();
  return head;
}
