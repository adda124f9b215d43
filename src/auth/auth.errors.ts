import { ProtocolError } from '../errors.js';

export class NotAuthenticated extends ProtocolError {
  readonly code = 'AUTHENTICATION_ERROR';
  constructor(message = 'The request does not prove its principal.') {
    super(message);
  }
}

/** The caller is known, and may not do this. */
export class AccessDenied extends ProtocolError {
  readonly code = 'ACCESS_DENIED';
  constructor(message: string) {
    super(message);
  }
}
