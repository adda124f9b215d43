import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Request } from 'express';
import { hasScope, isNamed, type AuthContext, type Scope } from './auth-context.js';
import { AccessDenied, NotAuthenticated } from './auth.errors.js';
import { Callers } from './callers.js';
import { followTokensIn } from './follow-tokens-in.js';
import {
  ALSO_BY_LEASE,
  type FollowTokenDemand,
  leaseTokenOf,
  OPEN_TO_FOLLOW_TOKENS,
  PUBLIC,
  REQUIRED_SCOPE,
} from './route.decorators.js';

export type AuthenticatedRequest = Request & { auth?: AuthContext };

/**
 * Guards every HTTP route but the public ones: resolves the caller, and checks its scopes against the route. A route of a host
 * without a marker admits every caller with a principal.
 */
@Injectable()
export class AuthenticationGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly callers: Callers,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() !== 'http') return true;
    const target = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<boolean>(PUBLIC, target)) return true;
    const request = context.switchToHttp().getRequest<AuthenticatedRequest>();
    // The route checks the lease: workers have no principal.
    if (this.reflector.getAllAndOverride<boolean>(ALSO_BY_LEASE, target) && leaseTokenOf(request) !== undefined) {
      if (followTokensIn(request).length > 0) throw new NotAuthenticated('A lease and a follow token are two proofs.');
      return true;
    }
    const demand = this.reflector.getAllAndOverride<FollowTokenDemand | undefined>(OPEN_TO_FOLLOW_TOKENS, target);
    const auth = await this.callers.of(request, demand?.inQuery ? 'query' : undefined);
    demandFollowToken(auth, demand);
    const scopes = this.reflector.getAllAndOverride<readonly Scope[] | undefined>(REQUIRED_SCOPE, target);
    if (scopes !== undefined) demandScope(auth, ...scopes);
    else if (!isNamed(auth)) throw new NotAuthenticated('This route needs a caller who says who it is.');
    request.auth = auth;
    return true;
  }
}

/** Routes that say nothing of follow tokens are closed to them. Other callers pass. @throws AccessDenied */
export function demandFollowToken({ followToken }: AuthContext, demand: FollowTokenDemand | undefined): void {
  if (!followToken) return;
  if (!demand) throw new AccessDenied('A follow token does not open this.');
  if (!followToken.may.includes(demand.right)) throw new AccessDenied(`The follow token may not ${demand.right}.`);
  if (demand.forOwner && followToken.taskId !== undefined) throw new AccessDenied('The follow token is for one task.');
}

/** One of these is enough. @throws AccessDenied */
export function demandScope(auth: AuthContext, ...scopes: readonly Scope[]): void {
  if (scopes.some((scope) => hasScope(auth, scope))) return;
  throw new AccessDenied(`This needs the scope ${scopes.join(' or ')}.`);
}
