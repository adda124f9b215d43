/** Whose tasks a feed, a list or a count shows: those of an owner; of a tenant, without `ownerId`; all, without both. */
export interface TaskScope {
  readonly tenantId?: string;
  readonly ownerId?: string;
}
