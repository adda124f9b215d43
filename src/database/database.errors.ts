import { isNativeError } from 'node:util/types';
import { ProtocolError } from '../errors.js';

/** PostgreSQL does not answer now. A single statement outside a transaction may still have taken effect. */
export class DatabaseUnavailable extends ProtocolError {
  override readonly code = 'SERVICE_UNAVAILABLE';
  override readonly retryAfterSeconds = 1;

  constructor(cause: unknown, message = 'The database cannot be reached right now.') {
    super(message, { cause });
  }
}

/** Another transaction, such as one of `create_task`, was at work on the same thing for too long. */
export class LockNotHad extends DatabaseUnavailable {
  constructor(cause: unknown) {
    super(cause, 'Another transaction that is still open works on the same: repeat the request later.');
  }
}

/** The connection was lost at COMMIT. The transaction took effect as a whole or not at all, and only a query can tell. */
export class CommitUnknown extends ProtocolError {
  override readonly code = 'SERVICE_UNAVAILABLE';
  override readonly retryAfterSeconds = 1;

  constructor(cause: unknown) {
    super('The outcome of the request is not known; repeat it with the same identifiers.', { cause });
  }
}

/**
 * The SQLSTATE of an error that PostgreSQL sent. Five capitals are no proof: Node has an `EPIPE`. And `instanceof Error` is
 * none either: under Jest the errors of Node's own modules belong to another realm.
 */
export function sqlStateOf(error: unknown): string | undefined {
  if (!isNativeError(error) || !('severity' in error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** The server undid the transaction to let another one through; running it again is safe. */
export function isConflict(error: unknown): boolean {
  return ['40001', '40P01'].includes(sqlStateOf(error) ?? '');
}

/** PostgreSQL refused these very values: class 22 is about data, 23 about constraints. The same values are refused again. */
export function isFaultOfData(error: unknown): boolean {
  return /^2[23]/.test(sqlStateOf(error) ?? '');
}

/** Class 08 connection, 53 resources; shutdown and restart, session limits, a demoted primary. */
const SESSION_IS_OVER = /^(08...|53...|57P0.|25P03|25P04|25006)$/;
const LOCK_NOT_HAD = '55P03';
/** Statement cancelled by its timeout, lock not had in time. */
const GAVE_UP = /^(57014|55P03)$/;

/** Starting, shutting down, full, busy: try again in a moment. `08P01` comes from a pooler that does not pass the options on. */
export function healsInTime(error: unknown): boolean {
  const state = sqlStateOf(error) ?? '';
  return state !== POOLER_REFUSES && (SESSION_IS_OVER.test(state) || GAVE_UP.test(state) || isConflict(error));
}

/** PgBouncer answers so to a start of a session with `options`. */
export const POOLER_REFUSES = '08P01';

/** Whether another caller may use the connection: PostgreSQL answered, and did not end the session. */
export function leavesConnectionFit(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && !SESSION_IS_OVER.test(state);
}

/** Errors that may pass become `DatabaseUnavailable`. All others are faults and stay as they are. */
export function translated(error: unknown): unknown {
  const state = sqlStateOf(error);
  if (state === LOCK_NOT_HAD) return new LockNotHad(error);
  if (state !== undefined) {
    const heals = SESSION_IS_OVER.test(state) || GAVE_UP.test(state) || isConflict(error);
    return heals ? new DatabaseUnavailable(error) : error;
  }
  return isConnectionFailure(error) ? new DatabaseUnavailable(error) : error;
}

/** `pg` gives its own failures no code; these are its words, and Node's system errors. */
export function isConnectionFailure(error: unknown): boolean {
  if (!isNativeError(error)) return false;
  // Not ERR_…: those are faults of a program, or of a certificate, and do not pass.
  if ('code' in error && /^E(?!RR_)/.test(String(error.code))) return true;
  return /^(PostgreSQL has answered nothing|Connection terminated|timeout e|Query read timeout|Client (was closed|has encountered)|Cannot use a pool after)/.test(
    error.message,
  );
}
