import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import { demandScope } from '../auth/authentication.guard.js';
import { InvalidRequest } from '../errors.js';
import type { TaskScope } from './domain/task-scope.js';

/** What a caller asks for. Without any of them, its own tasks. */
export interface WantedScope {
  readonly owner?: string;
  /** Empty: tasks without a tenant. */
  readonly tenant?: string;
  readonly all?: boolean;
}

/**
 * The scope that the caller may see.
 * @throws AccessDenied for tasks of others without `tasks:admin`
 * @throws InvalidRequest for `all` beside another
 */
export function scopeFor(auth: AuthContext, { owner, tenant, all = false }: WantedScope): TaskScope {
  const own = ownerOf(auth);
  if (owner === undefined && tenant === undefined && !all) return own;
  demandScope(auth, 'tasks:admin');
  if (!all) return { tenantId: tenant ?? own.tenantId, ...(owner !== undefined && { ownerId: owner }) };
  if (owner !== undefined || tenant !== undefined) throw new InvalidRequest('`all` stands alone.');
  return {};
}

/** Whether the caller asks for tasks of others: what it sees then says whose they are. */
export function isOfOthers({ owner, tenant, all = false }: WantedScope): boolean {
  return owner !== undefined || tenant !== undefined || all;
}
