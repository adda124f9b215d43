import { MAX_CARRIED_ATTRIBUTES_BYTES } from '#protocol/follow-tokens.js';
import type { AuthContext } from './auth-context.js';
import { AccessDenied } from './auth.errors.js';

/**
 * The attributes of a principal as a token or a schedule keeps them, so that the policy sees now what it will see then.
 * @throws AccessDenied when they are no JSON of this size
 */
export function carried(attributes: AuthContext['attributes']): AuthContext['attributes'] {
  const json = jsonOf(attributes);
  if (json === undefined || Buffer.byteLength(json) > MAX_CARRIED_ATTRIBUTES_BYTES)
    throw new AccessDenied(
      `The attributes of this principal are no JSON of at most ${MAX_CARRIED_ATTRIBUTES_BYTES} bytes, so they cannot be kept.`,
    );
  return JSON.parse(json) as AuthContext['attributes'];
}

function jsonOf(attributes: AuthContext['attributes']): string | undefined {
  try {
    return JSON.stringify(attributes);
  } catch {
    return undefined;
  }
}
