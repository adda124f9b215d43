import { TaskBridgeError } from '../taskbridge-error.js';

export class NotAuthenticated extends TaskBridgeError {
  readonly code = 'AUTHENTICATION_ERROR';
  readonly kind = 'unauthenticated';
  constructor(message = 'The request does not prove its principal.') {
    super(message);
  }
}

/** The caller is known, and may not do this. */
export class AccessDenied extends TaskBridgeError {
  readonly code = 'ACCESS_DENIED';
  readonly kind = 'forbidden';
  constructor(message: string) {
    super(message);
  }
}
