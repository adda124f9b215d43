import type { ErrorKind, TaskBridgeError } from '../taskbridge-error.js';
import type { StreamEnd } from './stream-writer.js';

/** Close codes of the wire protocol. Below 4400: reconnect and resume; 44xx: do not come back unchanged. */
export const CLOSE = {
  over: 1000,
  binary: 1003,
  restarting: 1012,
  overloaded: 1013,
  maxAge: 4001,
  slowConsumer: 4013,
  badFrame: 4400,
  notAuthenticated: 4401,
  refused: 4403,
  noSuchTask: 4404,
  noSubscribe: 4408,
  cursorAhead: 4409,
} as const;

const BY_KIND: Partial<Record<ErrorKind, number>> = {
  invalid: CLOSE.badFrame,
  unprocessable: CLOSE.badFrame,
  unauthenticated: CLOSE.notAuthenticated,
  forbidden: CLOSE.refused,
  absent: CLOSE.noSuchTask,
  conflict: CLOSE.cursorAhead,
};

/** Whatever time may heal is `overloaded`: come back with backoff. */
export function closeCodeOf(error: TaskBridgeError): number {
  return BY_KIND[error.kind] ?? CLOSE.overloaded;
}

/** The reason carries the error code where there is one. */
export const CLOSE_AFTER: Record<StreamEnd, { readonly code: number; readonly reason: string }> = {
  terminal: { code: CLOSE.over, reason: '' },
  client_left: { code: CLOSE.over, reason: '' },
  slow_consumer: { code: CLOSE.slowConsumer, reason: 'SLOW_CONSUMER' },
  max_age: { code: CLOSE.maxAge, reason: 'MAX_AGE' },
  draining: { code: CLOSE.restarting, reason: 'DRAINING' },
  removed: { code: CLOSE.noSuchTask, reason: 'TASK_NOT_FOUND' },
  failed: { code: CLOSE.overloaded, reason: 'INTERNAL_ERROR' },
};
