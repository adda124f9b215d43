import { type ErrorKind, TaskBridgeError } from '../taskbridge-error.js';
import type { StreamEnd } from './connection.js';
import { FrameRefused } from './delivery.errors.js';

/** Close codes of the wire protocol. Below 4400: reconnect and resume; 44xx: do not come back unchanged. */
const CLOSE = {
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

interface Close {
  readonly code: number;
  /** The error code where there is one. */
  readonly reason: string;
}

/** Whatever time may heal is `overloaded`: come back with backoff. */
export function closeAfterError(error: unknown): Close {
  if (!(error instanceof TaskBridgeError)) return CLOSE_AFTER.failed;
  if (error instanceof FrameRefused && error.problem === 'binary') return { code: CLOSE.binary, reason: error.code };
  return { code: BY_KIND[error.kind] ?? CLOSE.overloaded, reason: error.code };
}

/** For ends that are no error, or that the client has no part in. One that was refused is closed with its error. */
export const CLOSE_AFTER: Record<Exclude<StreamEnd, 'lost'>, Close> = {
  terminal: { code: CLOSE.over, reason: '' },
  unsubscribed: { code: CLOSE.over, reason: '' },
  client_left: { code: CLOSE.over, reason: '' },
  refused: { code: CLOSE.badFrame, reason: 'INVALID_REQUEST' },
  slow_consumer: { code: CLOSE.slowConsumer, reason: 'SLOW_CONSUMER' },
  max_age: { code: CLOSE.maxAge, reason: 'MAX_AGE' },
  draining: { code: CLOSE.restarting, reason: 'DRAINING' },
  no_subscribe: { code: CLOSE.noSubscribe, reason: 'SUBSCRIBE_TIMEOUT' },
  removed: { code: CLOSE.noSuchTask, reason: 'TASK_NOT_FOUND' },
  failed: { code: CLOSE.overloaded, reason: 'INTERNAL_ERROR' },
};
