import { principalKey } from '../auth/auth-context.js';
import type { ClaimableRecord, ServedOwner } from './store/lock-tasks.js';

/** More owners would slow every claim down for little fairness. */
const MAX_OWNERS = 500;

/**
 * The owners that had a turn on this replica, as long as they have waiting tasks. Without it, claims of one task each would
 * always serve the owner with the most old tasks. Later tasks of an owner queue by their own age.
 */
export class ServedOwners {
  /** By owner, with the last served one at the end. */
  readonly #owners = new Map<string, ServedOwner>();

  get all(): readonly ServedOwner[] {
    return [...this.#owners.values()];
  }

  note(claimed: readonly Pick<ClaimableRecord, 'identity' | 'claimedAt' | 'ownerHasMore'>[]): void {
    for (const { identity, claimedAt, ownerHasMore } of claimed) {
      if (!ownerHasMore) continue;
      const { tenantId, ownerId } = identity;
      const key = principalKey({ tenantId, subject: ownerId });
      this.#owners.delete(key);
      this.#owners.set(key, { tenantId, ownerId, at: claimedAt });
    }
    for (const key of this.#owners.keys()) {
      if (this.#owners.size <= MAX_OWNERS) return;
      this.#owners.delete(key);
    }
  }
}
