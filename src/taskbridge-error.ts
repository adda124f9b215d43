import { type ErrorCode, type ErrorKind, kindOf } from '#protocol/errors.js';

/**
 * A refusal, as an answer to the caller. Subclasses are named by the situation; `code` and `details` are public and part of the
 * wire contract, `message` is for a person and never carries a secret or a client's payload.
 */
export abstract class TaskBridgeError extends Error {
  abstract readonly code: string;
  /** What sort of refusal it is: the HTTP status and the close code follow from it. */
  abstract readonly kind: ErrorKind;
  readonly details: Readonly<Record<string, unknown>> = {};
  /** Seconds until a repeat makes sense; becomes `Retry-After`. */
  readonly retryAfterSeconds?: number;

  override get name(): string {
    return this.constructor.name;
  }
}

/** A refusal of the service itself: its code is in the table of errors, which knows the kind. A host has codes of its own. */
export abstract class ProtocolError extends TaskBridgeError {
  abstract override readonly code: ErrorCode;

  override get kind(): ErrorKind {
    return kindOf(this.code);
  }
}
