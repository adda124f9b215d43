import { TaskBridgeError } from '../taskbridge-error.js';

/** The request is wrong, and no other status is more precise. */
export class InvalidRequest extends TaskBridgeError {
  override readonly code = 'INVALID_REQUEST';
  override readonly kind = 'invalid';

  constructor(
    message: string,
    override readonly details: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }
}

/** `offset` counts UTF-16 code units of the decoded text; absent when the text as a whole is refused. */
export class MalformedJson extends TaskBridgeError {
  override readonly code = 'INVALID_REQUEST';
  override readonly kind = 'invalid';

  constructor(
    readonly problem: string,
    readonly offset?: number,
  ) {
    super(`Malformed JSON: ${problem}${offset === undefined ? '' : ` at offset ${offset}`}`);
  }
}

/** The JSON is well-formed, but the route refuses some members. */
export class RequestValidationError extends TaskBridgeError {
  override readonly code = 'REQUEST_VALIDATION_ERROR';
  override readonly kind = 'unprocessable';
  override readonly details: { readonly errors: readonly FieldError[] };

  constructor(errors: readonly FieldError[]) {
    super('Members of the request are missing, unknown or not allowed');
    this.details = { errors };
  }
}

export interface FieldError {
  readonly path: string;
  readonly message: string;
}

export class PayloadTooLarge extends TaskBridgeError {
  override readonly code = 'PAYLOAD_TOO_LARGE';
  override readonly kind = 'too_large';
  override readonly details: { readonly maxBytes: number };

  constructor(maxBytes: number, message = `The body is larger than ${maxBytes} bytes`) {
    super(message);
    this.details = { maxBytes };
  }
}

export class UnsupportedMediaType extends TaskBridgeError {
  override readonly code = 'UNSUPPORTED_MEDIA_TYPE';
  override readonly kind = 'unsupported';
}

/** The range begins behind the end. Also becomes the `Content-Range` header, which tells the size. */
export class RangeNotSatisfiable extends TaskBridgeError {
  override readonly code = 'INVALID_REQUEST';
  override readonly kind = 'unsatisfiable';
  override readonly details: { readonly sizeBytes: number };

  constructor(sizeBytes: number) {
    super('The range cannot be satisfied');
    this.details = { sizeBytes };
  }
}

export class NotAcceptable extends TaskBridgeError {
  override readonly code = 'NOT_ACCEPTABLE';
  override readonly kind = 'not_acceptable';
}

/** `details.allow` also becomes the `Allow` header. */
export class MethodNotAllowed extends TaskBridgeError {
  override readonly code = 'METHOD_NOT_ALLOWED';
  override readonly kind = 'method_not_allowed';
  override readonly details: { readonly allow: readonly string[] };

  constructor(allow: readonly string[]) {
    super('The method is not allowed here');
    this.details = { allow };
  }
}

/** The address is that of the WebSocket. Also becomes the `Upgrade` header. */
export class UpgradeRequired extends TaskBridgeError {
  override readonly code = 'INVALID_REQUEST';
  override readonly kind = 'upgrade_required';

  constructor() {
    super('This address accepts only WebSockets');
  }
}

export class RouteNotFound extends TaskBridgeError {
  override readonly code = 'NOT_FOUND';
  override readonly kind = 'absent';

  constructor() {
    super('There is nothing at this address');
  }
}

/** A dependency of the service does not answer, or the service is draining. */
export class ServiceUnavailable extends TaskBridgeError {
  override readonly code = 'SERVICE_UNAVAILABLE';
  override readonly kind = 'unavailable';

  constructor(
    override readonly retryAfterSeconds: number,
    message = 'The service cannot answer now',
  ) {
    super(message);
  }
}

export class TooManyRequests extends TaskBridgeError {
  override readonly code = 'TOO_MANY_REQUESTS';
  override readonly kind = 'too_many';

  constructor(
    override readonly retryAfterSeconds: number,
    message = 'Too many requests at a time',
  ) {
    super(message);
  }
}
