import { oneOf, text } from './json-schema.js';

// Tokens with which a page follows what its backend created.

/** What every follow token begins with. */
export const FOLLOW_TOKEN_PREFIX = 'tbf1.';
/** A longer text is none, and is not looked at. */
export const MAX_FOLLOW_TOKEN_LENGTH = 4_096;
/** What the token of a principal carries for a host's policies, as JSON. */
export const MAX_CARRIED_ATTRIBUTES_BYTES = 1_024;

/** The prefix, the claims and their signature. Clients send it as it is: what it says is for the service. */
export const FOLLOW_TOKEN = text({
  title: 'a follow token',
  pattern: '^tbf1\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]{43}$',
  maxLength: MAX_FOLLOW_TOKEN_LENGTH,
});

/** In front of a token among the subprotocols that a client of a WebSocket offers. It is never selected. */
export const TOKEN_SUBPROTOCOL_PREFIX = 'taskbridge.token.';

/** What a token may do. Each may read. */
export const FOLLOW_RIGHTS = ['read', 'answer', 'cancel'] as const;
export type FollowRight = (typeof FOLLOW_RIGHTS)[number];
export const FOLLOW_RIGHT = oneOf(...FOLLOW_RIGHTS);

/** How long a token may live, in seconds. */
export const FOLLOW_TOKEN_SECONDS = { minimum: 1, maximum: 900, default: 300 } as const;
