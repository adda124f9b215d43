import { ProtocolError } from '../errors.js';

/** The service has no key for tokens. The answer is that of a release that does not know them. */
export class FollowTokensOff extends ProtocolError {
  readonly code = 'NOT_FOUND';
  constructor() {
    super('This service has no follow tokens: it has no FOLLOW_TOKEN_KEYS.');
  }
}
