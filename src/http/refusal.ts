import { HttpException } from '@nestjs/common';
import type { Request } from 'express';
import { type ErrorCode, kindOf } from '#protocol/errors.js';
import {
  InvalidRequest,
  MethodNotAllowed,
  RangeNotSatisfiable,
  RouteNotFound,
  TaskBridgeError,
  UpgradeRequired,
} from '../errors.js';
import { allowedMethods } from './allowed-methods.js';
import { httpStatusOf } from './error-body.js';

/** The answer to an error: exactly what leaves the service. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
}

const INTERNAL_ERROR: Refusal = {
  status: httpStatusOf(kindOf('INTERNAL_ERROR')),
  code: 'INTERNAL_ERROR',
  message: 'The service has a fault; quote the correlation id to its operator',
  details: {},
  headers: {},
};

/** Fixed texts: messages of frameworks and libraries repeat the request, or reveal versions and paths. */
const BY_STATUS: Readonly<Record<number, readonly [code: ErrorCode, message: string]>> = {
  400: ['INVALID_REQUEST', 'The request is malformed'],
  401: ['AUTHENTICATION_ERROR', 'The request does not prove its principal'],
  403: ['ACCESS_DENIED', 'This is not allowed'],
  406: ['NOT_ACCEPTABLE', 'The route has no answer of an accepted type'],
  408: ['INVALID_REQUEST', 'The request did not arrive in time'],
  413: ['PAYLOAD_TOO_LARGE', 'The body is too large'],
  414: ['INVALID_REQUEST', 'The address is too long'],
  415: ['UNSUPPORTED_MEDIA_TYPE', 'The type of the body is not supported'],
  416: ['INVALID_REQUEST', 'The range cannot be satisfied'],
  422: ['REQUEST_VALIDATION_ERROR', 'Members of the request are missing, unknown or not allowed'],
  429: ['TOO_MANY_REQUESTS', 'Too many requests at a time'],
  503: ['SERVICE_UNAVAILABLE', 'The service cannot answer now'],
};

export function refusalOf(error: unknown, req: Request): Refusal {
  if (error instanceof TaskBridgeError) return ofTaskBridgeError(error);
  if (error instanceof URIError) return ofTaskBridgeError(new InvalidRequest('The address is malformed'));
  const status = statusOf(error);
  if (status === 404 || status === 405) return ofTaskBridgeError(absence(req));
  const known = BY_STATUS[status];
  if (known === undefined)
    return status < 500 ? ofTaskBridgeError(new InvalidRequest('The request is malformed')) : INTERNAL_ERROR;
  const [code, message] = known;
  return {
    status,
    code,
    message,
    details: {},
    headers: status === 429 || status === 503 ? { 'Retry-After': '1' } : {},
  };
}

function ofTaskBridgeError(error: TaskBridgeError): Refusal {
  const { code, kind, message, details, retryAfterSeconds } = error;
  const headers = {
    ...(retryAfterSeconds !== undefined && { 'Retry-After': String(Math.ceil(retryAfterSeconds)) }),
    ...(error instanceof MethodNotAllowed && { Allow: error.details.allow.join(', ') }),
    ...(error instanceof UpgradeRequired && { Upgrade: 'websocket', Connection: 'close, Upgrade' }),
    ...(error instanceof RangeNotSatisfiable && { 'Content-Range': `bytes */${error.details.sizeBytes}` }),
  };
  return { status: httpStatusOf(kind), code, message, details, headers };
}

/** No route took the request: nothing is there, or something that takes other methods. */
function absence(req: Request): TaskBridgeError {
  const allow = allowedMethods(req);
  return allow.length > 0 && !allow.includes(req.method) ? new MethodNotAllowed(allow) : new RouteNotFound();
}

/**
 * The status of Nest's exceptions, and of public errors by `http-errors` (Express, send). Not of other errors with a status: an
 * S3 client's 403 is our fault, not the caller's.
 */
function statusOf(error: unknown): number {
  if (error instanceof HttpException) return error.getStatus();
  if (!(error instanceof Error)) return 500;
  const { expose, statusCode } = error as { expose?: unknown; statusCode?: unknown };
  return expose === true && typeof statusCode === 'number' ? statusCode : 500;
}
