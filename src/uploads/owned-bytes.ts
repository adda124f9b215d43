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

/** The bytes of all attachments of the owner's tasks. */
export async function ownedBytes(db: Queryable, { tenantId, ownerId }: Owner): Promise<number> {
  const [row] = await db.query<{ bytes: number }>(OWNED, [tenantId, ownerId]);
  return row?.bytes ?? 0;
}

/** Held until the end of the transaction, taken in one order. No other statement takes these locks. */
const LOCK: Statement = {
  name: 'lock-owners',
  text: `SELECT pg_advisory_xact_lock(key) FROM (
      SELECT DISTINCT hashtextextended(tenant_id || chr(31) || owner_id, 7461737) AS key
      FROM unnest($1::text[], $2::text[]) AS owner (tenant_id, owner_id) ORDER BY key) AS owners`,
};

/** From here on, creates of these owners that take these locks run one at a time, so their total is known. */
export async function lockOwners(tx: Queryable, owners: readonly Owner[]): Promise<void> {
  await tx.query(LOCK, [owners.map(({ tenantId }) => tenantId), owners.map(({ ownerId }) => ownerId)]);
}
