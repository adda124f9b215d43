import type { ErrorKind } from '../taskbridge-error.js';

/** The one shape of every refusal, over HTTP and in its raw form on a socket. */
export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  /** ISO 8601, UTC. */
  readonly timestamp: string;
  readonly correlationId: string;
}

/** Copies the public facts one by one, so a new field of an error class is never published by accident. */
export function errorBody(
  { code, message, details }: Pick<ErrorBody, 'code' | 'message' | 'details'>,
  correlationId: string,
): ErrorBody {
  return { code, message, details, timestamp: new Date().toISOString(), correlationId };
}

const STATUS_OF_KIND = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  absent: 404,
  method_not_allowed: 405,
  not_acceptable: 406,
  conflict: 409,
  too_large: 413,
  unsupported: 415,
  unsatisfiable: 416,
  unprocessable: 422,
  upgrade_required: 426,
  too_many: 429,
  unavailable: 503,
} as const satisfies Record<ErrorKind, number>;

export function httpStatusOf(kind: ErrorKind): number {
  return STATUS_OF_KIND[kind];
}
