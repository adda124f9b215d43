import type { ClaimableRecord, ServedOwner } from './store/lock-tasks.js';

/** More of them would make every claim slower than it is fair. */
const MAX_OWNERS = 500;

/**
 * Whose turn it was on this replica, as long as tasks of theirs are left waiting: with claims of one task each, the oldest task
 * would be the crowd's every time. What of an owner comes later stands behind the others by its own age.
 */
export class ServedOwners {
  /** By owner, the one served last at the end. */
  readonly #owners = new Map<string, ServedOwner>();

  get all(): readonly ServedOwner[] {
    return [...this.#owners.values()];
  }

  note(claimed: readonly Pick<ClaimableRecord, 'identity' | 'claimedAt' | 'ownerHasMore'>[]): void {
    for (const { identity, claimedAt, ownerHasMore } of claimed) {
      if (!ownerHasMore) continue;
      const { tenantId, ownerId } = identity;
      const key = JSON.stringify([tenantId, ownerId]);
      this.#owners.delete(key);
      this.#owners.set(key, { tenantId, ownerId, at: claimedAt });
    }
    for (const key of this.#owners.keys()) {
      if (this.#owners.size <= MAX_OWNERS) return;
      this.#owners.delete(key);
    }
  }
}
