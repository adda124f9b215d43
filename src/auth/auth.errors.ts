import { ProtocolError, TaskBridgeError } from '../errors.js';

export class NotAuthenticated extends ProtocolError {
  readonly code = 'AUTHENTICATION_ERROR';
  constructor(message = 'The request does not prove its principal.') {
    super(message);
  }
}

/** Whether an error says that the caller proved nothing. A host's error is one of its kind, not of our class. */
export function isUnauthenticated(error: unknown): error is TaskBridgeError {
  return error instanceof TaskBridgeError && error.kind === 'unauthenticated';
}

/** The caller is known, and may not do this. */
export class AccessDenied extends ProtocolError {
  readonly code = 'ACCESS_DENIED';
  constructor(message: string) {
    super(message);
  }
}
