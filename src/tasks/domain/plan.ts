/** What a create may say about when and how often the task runs. It is no part of what makes a request the same. */
export interface Timing {
  /** RFC 3339. The task does not begin before. */
  readonly startAfter?: string;
  readonly delaySeconds?: number;
  /** 0 to 9. */
  readonly priority?: number;
  /** RFC 3339. */
  readonly deadline?: string;
  readonly maxAttempts?: number;
}

/** What the row of a new task has from its create and from the policy of its type. */
export interface Plan extends Timing {
  /** From when the task may begin. */
  readonly startSeconds?: number;
  readonly finishSeconds?: number;
  readonly concurrencyKey?: string;
  readonly rateKey?: string;
}
