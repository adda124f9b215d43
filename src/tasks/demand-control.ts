import type { AuthContext } from '../auth/auth-context.js';
import { demandScope } from '../auth/authentication.guard.js';
import type { Queryable } from '../database/queryable.js';
import { owns } from '../ownership/owner-policy.js';
import type { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { isTaskId } from './domain/task-id.js';
import { TaskNotFound } from './domain/tasks.errors.js';
import { readTaskHead } from './store/read-task-view.js';

/**
 * The policy is asked before the row is locked, because it may be slow. The owner of a task never changes.
 * @throws TaskNotFound when there is no such task that the caller may control
 * @throws AccessDenied when it is the caller's own, and its scopes are for tasks of others
 */
export async function demandControl(
  db: Queryable,
  ownership: OwnershipPolicy,
  auth: AuthContext,
  taskId: string,
): Promise<void> {
  const head = isTaskId(taskId) ? await readTaskHead(db, taskId) : undefined;
  if (!head || !(await ownership.mayControl(auth, head.identity))) throw new TaskNotFound();
  if (owns(auth, head.identity)) demandScope(auth, 'tasks:write');
}
