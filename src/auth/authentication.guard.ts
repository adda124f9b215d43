import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Request } from 'express';
import { hasScope, isNamed, type AuthContext, type Scope } from './auth-context.js';
import { AccessDenied, NotAuthenticated } from './auth.errors.js';
import { Callers } from './callers.js';
import { ALSO_BY_LEASE, leaseTokenOf, PUBLIC, REQUIRED_SCOPE } from './route.decorators.js';

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
    if (this.reflector.getAllAndOverride<boolean>(ALSO_BY_LEASE, target) && leaseTokenOf(request) !== undefined)
      return true;
    const auth = await this.callers.of(request);
    const scopes = this.reflector.getAllAndOverride<readonly Scope[] | undefined>(REQUIRED_SCOPE, target);
    if (scopes !== undefined) demandScope(auth, ...scopes);
    else if (!isNamed(auth)) throw new NotAuthenticated('This route needs a caller who says who it is.');
    request.auth = auth;
    return true;
  }
}

/** One of these is enough. @throws AccessDenied */
export function demandScope(auth: AuthContext, ...scopes: readonly Scope[]): void {
  if (scopes.some((scope) => hasScope(auth, scope))) return;
  throw new AccessDenied(`This needs the scope ${scopes.join(' or ')}.`);
}
