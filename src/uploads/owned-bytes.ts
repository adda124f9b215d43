import type { Queryable, Statement } from '../database/queryable.js';

export interface Owner {
  /** Empty when the proxy named no tenant. */
  readonly tenantId: string;
  readonly ownerId: string;
}

/** Index: proj_attachments_owner, which has the sizes in it. */
const OWNED: Statement = {
  name: 'owned-bytes',
  text: `SELECT coalesce(sum(size_bytes), 0)::float8 AS bytes FROM taskbridge.proj_attachments
    WHERE tenant_id = $1 AND owner_id = $2`,
};

/** Bytes that are attached to the owner's tasks. */
export async function ownedBytes(db: Queryable, { tenantId, ownerId }: Owner): Promise<number> {
  const [row] = await db.query<{ bytes: number }>(OWNED, [tenantId, ownerId]);
  return row?.bytes ?? 0;
}

/** Until the end of the transaction, in one order. Any locks that no other statement takes would do. */
const LOCK: Statement = {
  name: 'lock-owners',
  text: `SELECT pg_advisory_xact_lock(key) FROM (
      SELECT DISTINCT hashtextextended(tenant_id || chr(31) || owner_id, 7461737) AS key
      FROM unnest($1::text[], $2::text[]) AS owner (tenant_id, owner_id) ORDER BY key) AS owners`,
};

/** Creates of these owners that take these locks go one at a time from here on, so that what they bring together is known. */
export async function lockOwners(tx: Queryable, owners: readonly Owner[]): Promise<void> {
  await tx.query(LOCK, [owners.map(({ tenantId }) => tenantId), owners.map(({ ownerId }) => ownerId)]);
}
