import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { OwnershipPolicy, type OwnedTask } from './ownership-policy.js';

/** A task is its owner's alone, to control and to read. An owner is a principal within its tenant: the same id elsewhere is somebody else. */
@Injectable()
export class OwnerPolicy extends OwnershipPolicy {
  override mayCreate(): boolean {
    return true;
  }

  override mayRead(auth: AuthContext, task: OwnedTask): boolean {
    return owns(auth, task) || readsAll(auth);
  }

  override mayControl(auth: AuthContext, task: OwnedTask): boolean {
    return owns(auth, task);
  }
}

export function owns(auth: AuthContext, task: OwnedTask): boolean {
  return auth.subject === task.ownerId && (auth.tenantId ?? '') === task.tenantId;
}

/** Of every tenant: for those who operate the service. It controls nothing. */
export function readsAll(auth: AuthContext): boolean {
  return auth.scopes.has('tasks:admin');
}
