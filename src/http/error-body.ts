import { ERROR_KINDS, type ErrorKind } from '#protocol/errors.js';
import type { ErrorBody } from '#protocol/snapshots.js';

/** Copies the public facts one by one, so a new field of an error class is never published by accident. */
export function errorBody(
  { code, message, details }: Pick<ErrorBody, 'code' | 'message' | 'details'>,
  correlationId: string,
): ErrorBody {
  return { code, message, details, timestamp: new Date().toISOString(), correlationId };
}

export function httpStatusOf(kind: ErrorKind): number {
  return ERROR_KINDS[kind].status;
}
