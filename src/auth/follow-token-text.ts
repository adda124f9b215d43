import { createHmac, timingSafeEqual } from 'node:crypto';
import {
  FOLLOW_TOKEN,
  FOLLOW_TOKEN_PREFIX,
  type FollowRight,
  MAX_FOLLOW_TOKEN_LENGTH,
} from '#protocol/follow-tokens.js';
import { patternOf } from '#protocol/ids.js';

const FORM = patternOf(FOLLOW_TOKEN);

/** What a token says. It is signed and not encrypted: its holder can read it. */
export interface Claims {
  readonly subject: string;
  readonly tenantId?: string;
  readonly appId?: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** The task that it opens. Absent: all of the principal's own. */
  readonly taskId?: string;
  readonly may: readonly FollowRight[];
  /** By the database's clock, in milliseconds since 1970. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/**
 * `tbf1.` and the claims as JSON in base64url, a dot, and the HMAC-SHA-256 of all before the dot. The prefix alone says how a token
 * is read: it chooses no algorithm and no key. The signature is over the text, so one token has one text.
 */
export function signed(claims: Claims, key: string): string {
  const said = FOLLOW_TOKEN_PREFIX + Buffer.from(JSON.stringify(claims)).toString('base64url');
  return `${said}.${signatureOf(said, key)}`;
}

/** Undefined where none of the keys has signed it. Nothing of a text is parsed before that is known. */
export function claimsOf(text: string, keys: readonly string[]): Claims | undefined {
  if (text.length > MAX_FOLLOW_TOKEN_LENGTH || !FORM.test(text)) return undefined;
  const dot = text.lastIndexOf('.');
  const said = text.slice(0, dot);
  const signature = Buffer.from(text.slice(dot + 1));
  // Each key is tried, and each is compared in constant time.
  const matches = keys.map((key) => timingSafeEqual(Buffer.from(signatureOf(said, key)), signature));
  if (!matches.includes(true)) return undefined;
  return JSON.parse(Buffer.from(said.slice(FOLLOW_TOKEN_PREFIX.length), 'base64url').toString()) as Claims;
}

function signatureOf(text: string, key: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}
