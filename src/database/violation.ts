/** A rule about the database that does not hold. */
export interface Violation {
  /** Stable, for tests and for searches of the documentation. */
  readonly rule: string;
  /** For the operator: begins with the setting to look at, has no secret. */
  readonly message: string;
}
