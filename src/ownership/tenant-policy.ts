import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { controlsAll, owns, readsAll } from './owner-policy.js';
import { OwnershipPolicy, type OwnedTask } from './ownership-policy.js';

/** Every principal of the tenant may read, and only the owner may control. Without a tenant only the owner may do both. */
@Injectable()
export class TenantPolicy extends OwnershipPolicy {
  override mayCreate(): boolean {
    return true;
  }

  override mayRead(auth: AuthContext, task: OwnedTask): boolean {
    return owns(auth, task) || readsAll(auth) || (task.tenantId !== '' && auth.tenantId === task.tenantId);
  }

  override mayControl(auth: AuthContext, task: OwnedTask): boolean {
    return owns(auth, task) || controlsAll(auth);
  }
}
