/** The leases that this process holds. It may stand still, and then its own clock says so before PostgreSQL does. */
export abstract class OwnLeases {
  /** Whether a lease is over by this process's own clock, and neither renewed nor lost yet. */
  abstract readonly isBehind: boolean;
}
