import type { TaskScope } from '../domain/task-scope.js';

/** By kind of scope, which rows of `table` are in it: `$1` is a tenant and `$2` an owner, both null where they do not matter. */
export const whoseOf = (table: string) => ({
  owner: `${table}.tenant_id = $1 AND ${table}.owner_id = $2`,
  tenant: `${table}.tenant_id = $1 AND $2::text IS NULL`,
  all: '$1::text IS NULL AND $2::text IS NULL',
});

export type ScopeKind = keyof ReturnType<typeof whoseOf>;

export function kindOf({ tenantId, ownerId }: TaskScope): ScopeKind {
  return ownerId !== undefined ? 'owner' : tenantId !== undefined ? 'tenant' : 'all';
}

/** `$1` and `$2`. */
export const valuesOf = ({ tenantId, ownerId }: TaskScope) => [tenantId ?? null, ownerId ?? null] as const;

/** A statement for each kind of scope: a plan for all of them would read all rows. */
export function byScope<T>(make: (kind: ScopeKind) => T): Readonly<Record<ScopeKind, T>> {
  return { owner: make('owner'), tenant: make('tenant'), all: make('all') };
}
