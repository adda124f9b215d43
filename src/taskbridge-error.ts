/** The kind of a refusal. One table turns it into an HTTP status, another into a WebSocket close code. */
export type ErrorKind =
  | 'invalid'
  | 'unauthenticated'
  | 'forbidden'
  | 'absent'
  | 'method_not_allowed'
  | 'not_acceptable'
  | 'conflict'
  | 'too_large'
  | 'unsupported'
  | 'unsatisfiable'
  | 'unprocessable'
  | 'upgrade_required'
  | 'too_many'
  | 'unavailable';

/**
 * A refusal, as an answer to the caller. Subclasses are named by the situation; `code` and `details` are public and part of the
 * wire contract, `message` is for a person and never carries a secret or a client's payload.
 */
export abstract class TaskBridgeError extends Error {
  abstract readonly code: string;
  abstract readonly kind: ErrorKind;
  readonly details: Readonly<Record<string, unknown>> = {};
  /** Seconds until a repeat makes sense; becomes `Retry-After`. */
  readonly retryAfterSeconds?: number;

  override get name(): string {
    return this.constructor.name;
  }
}
