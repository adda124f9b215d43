import { Injectable } from '@nestjs/common';
import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import { OwnershipPolicy, type OwnedTask } from './ownership-policy.js';

/**
 * Only the owner reads and controls a task. An owner is a principal within its tenant. The same id in another tenant is another
 * principal.
 */
@Injectable()
export class OwnerPolicy extends OwnershipPolicy {
  override mayCreate(): boolean {
    return true;
  }

  override mayRead(auth: AuthContext, task: OwnedTask): boolean {
    return owns(auth, task) || readsAll(auth);
  }

  override mayControl(auth: AuthContext, task: OwnedTask): boolean {
    return owns(auth, task) || controlsAll(auth);
  }
}

export function owns(auth: AuthContext, task: OwnedTask): boolean {
  const { tenantId, ownerId } = ownerOf(auth);
  return ownerId === task.ownerId && tenantId === task.tenantId;
}

/** Whether the caller's follow token is for the task. A caller without such a token is for the policy alone to judge. */
export function reaches(auth: AuthContext, task: OwnedTask): boolean {
  if (!auth.followToken) return true;
  const { taskId } = auth.followToken;
  return taskId === undefined ? owns(auth, task) : taskId === task.taskId;
}

/** The scope of operators: it reads tasks of every tenant and controls none. */
export function readsAll(auth: AuthContext): boolean {
  return auth.scopes.has('tasks:admin');
}

/** The scope of operators that controls tasks of every tenant and reads none. */
export function controlsAll(auth: AuthContext): boolean {
  return auth.scopes.has('tasks:operate');
}
