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

/** The request is wrong, and no other status is more precise. */
export class InvalidRequest extends ProtocolError {
  override readonly code = 'INVALID_REQUEST';

  constructor(
    message: string,
    override readonly details: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }
}

/** `offset` counts UTF-16 code units of the decoded text; absent when the text as a whole is refused. */
export class MalformedJson extends ProtocolError {
  override readonly code = 'INVALID_REQUEST';

  constructor(
    readonly problem: string,
    readonly offset?: number,
  ) {
    super(`Malformed JSON: ${problem}${offset === undefined ? '' : ` at offset ${offset}`}`);
  }
}

/** The JSON is well-formed, but the route refuses some members. */
export class RequestValidationError extends ProtocolError {
  override readonly code = 'REQUEST_VALIDATION_ERROR';
  override readonly details: { readonly errors: readonly FieldError[] };

  constructor(errors: readonly FieldError[], message = 'Members of the request are missing, unknown or not allowed') {
    super(message);
    this.details = { errors };
  }
}

/** An answer that a policy of the host refuses. Paths begin with `payload`, `metadata` or `actionType`. */
export class ActionInvalid extends RequestValidationError {}

export interface FieldError {
  readonly path: string;
  readonly message: string;
}

/** The same errors, seen from the document that the value is a member of. */
export function under(member: string, errors: readonly FieldError[]): readonly FieldError[] {
  return errors.map(({ path, message }) => ({ path: path === '' ? member : `${member}.${path}`, message }));
}

export class PayloadTooLarge extends ProtocolError {
  override readonly code = 'PAYLOAD_TOO_LARGE';
  override readonly details: { readonly maxBytes: number };

  constructor(maxBytes: number, message = `The body is larger than ${maxBytes} bytes`) {
    super(message);
    this.details = { maxBytes };
  }
}

export class UnsupportedMediaType extends ProtocolError {
  override readonly code = 'UNSUPPORTED_MEDIA_TYPE';
}

/** The range begins behind the end. Also becomes the `Content-Range` header, which tells the size. */
export class RangeNotSatisfiable extends ProtocolError {
  override readonly code = 'INVALID_REQUEST';

  override get kind(): ErrorKind {
    return 'unsatisfiable';
  }
  override readonly details: { readonly sizeBytes: number };

  constructor(sizeBytes: number) {
    super('The range cannot be satisfied');
    this.details = { sizeBytes };
  }
}

export class NotAcceptable extends ProtocolError {
  override readonly code = 'NOT_ACCEPTABLE';
}

/** `details.allow` also becomes the `Allow` header. */
export class MethodNotAllowed extends ProtocolError {
  override readonly code = 'METHOD_NOT_ALLOWED';
  override readonly details: { readonly allow: readonly string[] };

  constructor(allow: readonly string[]) {
    super('The method is not allowed here');
    this.details = { allow };
  }
}

/** The address is that of the WebSocket. Also becomes the `Upgrade` header. */
export class UpgradeRequired extends ProtocolError {
  override readonly code = 'INVALID_REQUEST';

  override get kind(): ErrorKind {
    return 'upgrade_required';
  }

  constructor() {
    super('This address accepts only WebSockets');
  }
}

export class RouteNotFound extends ProtocolError {
  override readonly code = 'NOT_FOUND';

  constructor() {
    super('There is nothing at this address');
  }
}

/** A dependency of the service does not answer, or the service is draining. */
export class ServiceUnavailable extends ProtocolError {
  override readonly code = 'SERVICE_UNAVAILABLE';

  constructor(
    override readonly retryAfterSeconds: number,
    message = 'The service cannot answer now',
  ) {
    super(message);
  }
}

export class TooManyRequests extends ProtocolError {
  override readonly code = 'TOO_MANY_REQUESTS';

  constructor(
    override readonly retryAfterSeconds: number,
    message = 'Too many requests at a time',
  ) {
    super(message);
  }
}
