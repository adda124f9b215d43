import { Injectable } from '@nestjs/common';
import type { FollowRight } from '#protocol/follow-tokens.js';
import { ServiceUnavailable } from '../errors.js';
import { AuthConfig } from './auth.config.js';
import { type AuthContext, principalKey, type Scope } from './auth-context.js';
import { NotAuthenticated } from './auth.errors.js';
import { type Claims, claimsOf, signed } from './follow-token-text.js';

/** A replica that has known no marks for longer than this refuses every token: another one may have revoked it. */
const TRUSTED_MS = 2_000;

/** By task, or by the principal that minted: its tokens up to this time of the database do not count any more. */
export interface RevocationMark {
  readonly of: string | Pick<AuthContext, 'tenantId' | 'subject'>;
  readonly revokedAt: number;
}

/** What this replica knows of the database: its time, and which tokens were revoked. Judges tokens by it. */
@Injectable()
export class FollowTokens {
  /** The time of each mark, by its task, or by its principal. */
  #marks = new Map<string, number>();
  /** A time of the database, and the `performance.now()` at which it had not passed yet. */
  #known: { readonly databaseMs: number; readonly askedAt: number } | undefined;

  constructor(private readonly config: AuthConfig) {}

  /** Whether there is a key. */
  get areOn(): boolean {
    return this.config.followTokenKeys.length > 0;
  }

  /** Signs with the first key. */
  sign(claims: Claims): string {
    const [key] = this.config.followTokenKeys;
    if (key === undefined) throw new Error('a token is signed without a key');
    return signed(claims, key);
  }

  /**
   * The caller that a token makes of a request.
   * @throws NotAuthenticated where it is forged, over or revoked
   * @throws ServiceUnavailable where this replica does not know what was revoked
   */
  callerOf(token: string): AuthContext {
    const claims = claimsOf(token, this.config.followTokenKeys);
    if (!claims) throw new NotAuthenticated('The follow token is not valid.');
    const now = this.databaseNow();
    if (claims.expiresAt <= now) throw new NotAuthenticated('The follow token has expired.');
    const auth = callerOf(claims, new Date(Date.now() + claims.expiresAt - now));
    if (this.isRevoked(auth)) throw new NotAuthenticated('The follow token was revoked.');
    return auth;
  }

  /** Before another use of a token that was judged earlier. Other callers pass. @throws as `callerOf` */
  judgeAgain(auth: AuthContext): void {
    if (!auth.followToken) return;
    this.databaseNow();
    if (this.isRevoked(auth)) throw new NotAuthenticated('The follow token was revoked.');
  }

  isRevoked(auth: AuthContext): boolean {
    if (!auth.followToken) return false;
    const { taskId, issuedAt } = auth.followToken;
    const isCovered = (key: string | undefined) => key !== undefined && issuedAt <= (this.#marks.get(key) ?? 0);
    return isCovered(principalKey(auth)) || isCovered(taskId);
  }

  /** The marks that are newer than those known, or all. */
  learn(marks: readonly RevocationMark[]): void {
    for (const { of, revokedAt } of marks) {
      const key = typeof of === 'string' ? of : principalKey(of);
      this.#marks.set(key, Math.max(revokedAt, this.#marks.get(key) ?? 0));
    }
  }

  /** All marks up to this time of the database are known. Those that are too old for any living token are forgotten. */
  trust(databaseMs: number, askedAt: number, forgottenBefore: number): void {
    this.#known = { databaseMs, askedAt };
    for (const [key, revokedAt] of this.#marks) if (revokedAt < forgottenBefore) this.#marks.delete(key);
  }

  /** At most as much too late as the database took to answer: a token ends too early rather than too late. */
  private databaseNow(): number {
    const age = this.#known ? performance.now() - this.#known.askedAt : Infinity;
    if (!this.#known || age > TRUSTED_MS) throw new ServiceUnavailable(1, 'Which tokens were revoked is not known now');
    return this.#known.databaseMs + age;
  }
}

const SCOPES_OF: Readonly<Record<FollowRight, Scope>> = {
  read: 'tasks:read',
  answer: 'tasks:write',
  cancel: 'tasks:write',
};

/** The scopes without which nobody can give these rights, and those that a token with them has. */
export function scopesOf(may: readonly FollowRight[]): ReadonlySet<Scope> {
  return new Set(may.map((right) => SCOPES_OF[right]));
}

/** The caller that a token with these claims makes. */
export function callerOf({ taskId, may, issuedAt, expiresAt: _, ...principal }: Claims, expiresAt: Date): AuthContext {
  return {
    ...principal,
    scopes: scopesOf(may),
    expiresAt,
    followToken: { ...(taskId !== undefined && { taskId }), may, issuedAt },
  };
}
