import { CLOSE_CODES, type CloseName, type CloseRow } from '#protocol/close-codes.js';
import { ERROR_KINDS } from '#protocol/errors.js';
import { TaskBridgeError } from '../../errors.js';
import type { StreamEnd } from '../connection.js';
import { FrameRefused } from './web-socket.errors.js';

interface Close {
  readonly code: number;
  /** The error code where there is one. */
  readonly reason: string;
}

export function closeAfterError(error: unknown): Close {
  if (!(error instanceof TaskBridgeError)) return CLOSE_AFTER.failed;
  if (error instanceof FrameRefused && error.problem === 'binary') return closed('binary', error.code);
  return closed(ERROR_KINDS[error.kind].close, error.code);
}

/** For ends that are no error, or that the client has no part in. One that was refused is closed with its error. */
const CLOSE_AFTER: Record<Exclude<StreamEnd, 'lost' | 'max_age'>, Close> = {
  terminal: closed('over'),
  unsubscribed: closed('over'),
  client_left: closed('over'),
  refused: closed('badFrame', 'INVALID_REQUEST'),
  slow_consumer: closed('slowConsumer'),
  credentials_ended: closed('notAuthenticated', 'AUTHENTICATION_ERROR'),
  draining: closed('restarting'),
  no_subscribe: closed('noSubscribe'),
  removed: closed('noSuchTask', 'TASK_NOT_FOUND'),
  failed: closed('overloaded', 'INTERNAL_ERROR'),
};

/** Clients of protocol 1.0 take 4001 for the end of what they follow by WebSocket. 1012 makes them connect again. */
const OLD = { carriesMany: closed('maxAge'), carriesOne: closed('maxAgeOfOne') };

export function closeAfter(why: Exclude<StreamEnd, 'lost'>, carriesMany: boolean): Close {
  if (why === 'max_age') return carriesMany ? OLD.carriesMany : OLD.carriesOne;
  return CLOSE_AFTER[why];
}

function closed(name: CloseName, errorCode?: string): Close {
  const { code, reason = '' }: CloseRow = CLOSE_CODES[name];
  return { code, reason: errorCode ?? reason };
}
