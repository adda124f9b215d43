import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { FOLLOW_TOKEN_PREFIX } from '#protocol/follow-tokens.js';
import { type AuthContext, isName, isNamed, isReserved, principalKey } from './auth-context.js';
import { AuthContextResolver } from './auth-context-resolver.js';
import { isUnauthenticated, NotAuthenticated } from './auth.errors.js';
import { Credential } from './credential.js';
import { FollowTokens } from './follow-tokens.js';
import {
  followTokensIn,
  hasTokenInQuery,
  type TokenPlace,
  withBearer,
  withoutFollowTokens,
} from './follow-tokens-in.js';

/** Resolves callers for HTTP, SSE and the WebSocket upgrade. This class alone accepts the answer of a resolver. */
@Injectable()
export class Callers {
  constructor(
    private readonly resolver: AuthContextResolver,
    private readonly followTokens: FollowTokens,
  ) {}

  /**
   * Who is calling: the principal of a follow token, or who the resolver says. The resolver never sees such a token.
   * @param place where a token may also be
   * @throws NotAuthenticated, and every other error of the resolver
   */
  async of(request: IncomingMessage, place?: TokenPlace): Promise<AuthContext> {
    // A page that tries this locally, where it needs no token, must not find out in production.
    if (place === 'subprotocol' && hasTokenInQuery(request))
      throw new NotAuthenticated('A WebSocket takes a follow token as a subprotocol, and not in its address.');
    const [token, ...more] = followTokensIn(request, place);
    if (token === undefined) return this.resolved(withoutFollowTokens(request));
    if (more.length > 0) throw new NotAuthenticated('The request shows more than one follow token.');
    const auth = this.followTokens.callerOf(token);
    // Otherwise the page of one principal could act with the session of another one.
    const other = await this.resolved(withoutFollowTokens(request)).catch(unlessUnauthenticated);
    if (other && isNamed(other) && !isSamePrincipal(other, auth))
      throw new NotAuthenticated('The request proves two principals.');
    return auth;
  }

  /**
   * The same caller with newer credentials: a follow token of the same reach, or what the resolver takes as a bearer token.
   * @throws NotAuthenticated where they are of another principal or reach, and what `of` throws
   */
  async renewed(request: IncomingMessage, token: string, earlier: AuthContext): Promise<AuthContext> {
    const isFollowToken = token.startsWith(FOLLOW_TOKEN_PREFIX);
    const auth = isFollowToken ? this.followTokens.callerOf(token) : await this.resolved(withBearer(request, token));
    if (!isNamed(auth) || !isSamePrincipal(auth, earlier) || !isSameReach(auth, earlier))
      throw new NotAuthenticated('These are not credentials of the same principal and the same reach.');
    return auth;
  }

  /** What may end while a connection is open. Undefined where nothing can. */
  credentialOf(auth: AuthContext): Credential | undefined {
    const canEnd = auth.expiresAt !== undefined || this.resolver.isStillValid !== undefined;
    return canEnd ? new Credential(auth, this.resolver, this.followTokens) : undefined;
  }

  /** Before a further use of credentials that opened a connection. @throws as `of` */
  judgeAgain(auth: AuthContext): void {
    this.followTokens.judgeAgain(auth);
  }

  /**
   * Reserved ids are refused from every resolver. Identity providers let people choose names, and no person may act as the
   * service itself or look like a worker in a task's log.
   */
  private async resolved(request: IncomingMessage): Promise<AuthContext> {
    const auth = await this.resolver.resolve(request);
    if (!isNamed(auth)) return auth;
    const { subject, expiresAt } = auth;
    if (isReserved(subject)) throw new NotAuthenticated('The principal is reserved.');
    if (!isName(subject)) throw new NotAuthenticated('The principal is malformed.');
    if (expiresAt && expiresAt.getTime() <= Date.now()) throw new NotAuthenticated('The credentials have expired.');
    return auth;
  }
}

function unlessUnauthenticated(error: unknown): undefined {
  if (!isUnauthenticated(error)) throw error;
}

function isSamePrincipal(one: AuthContext, other: AuthContext): boolean {
  return principalKey(one) === principalKey(other);
}

/** Streams that are open would otherwise outgrow what the newer credentials open. */
function isSameReach({ followToken: one }: AuthContext, { followToken: other }: AuthContext): boolean {
  return (one && (one.taskId ?? 'own')) === (other && (other.taskId ?? 'own'));
}
