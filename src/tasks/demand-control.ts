import type { AuthContext } from '../auth/auth-context.js';
import { demandScope } from '../auth/authentication.guard.js';
import type { Queryable } from '../database/queryable.js';
import { owns } from '../ownership/owner-policy.js';
import type { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { demandTask } from './demand-task.js';
import type { TaskIdentity } from './domain/task-identity.js';

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
): Promise<TaskIdentity> {
  const { identity } = await demandTask(db, ownership, 'mayControl', auth, taskId);
  if (owns(auth, identity)) demandScope(auth, 'tasks:write');
  return identity;
}
