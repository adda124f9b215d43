/** Which of the two shipped policies decides who may read and control a task. */
export abstract class OwnershipConfig {
  /** From OWNERSHIP_POLICY. Defaults to `owner`. */
  abstract readonly policy: 'owner' | 'tenant';
}
