import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { AuthContext } from './auth-context.js';
import type { AuthenticatedRequest } from './authentication.guard.js';

/** The caller of the route, as the guard resolved it. */
export const Caller = createParamDecorator((_: unknown, context: ExecutionContext): AuthContext => {
  const { auth } = context.switchToHttp().getRequest<AuthenticatedRequest>();
  if (!auth) throw new Error('a route that asks for its caller is marked public');
  return auth;
});
