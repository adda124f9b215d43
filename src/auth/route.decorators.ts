import type { IncomingMessage } from 'node:http';
import { applyDecorators, createParamDecorator, type ExecutionContext, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import type { FollowRight } from '#protocol/follow-tokens.js';
import type { AuthContext, Scope } from './auth-context.js';

export const PUBLIC = 'taskbridge:public';
export const REQUIRED_SCOPE = 'taskbridge:scope';
export const ALSO_BY_LEASE = 'taskbridge:also-by-lease';
export const OPEN_TO_FOLLOW_TOKENS = 'taskbridge:open-to-follow-tokens';

/** A route that needs no principal. */
export const Public = () => SetMetadata(PUBLIC, true);

/**
 * The scope that a route demands, or every route of a controller. A scope that only a host's resolver gives is named twice, so that a
 * misspelt one does not compile: `@Requires<'acme:orders'>('acme:orders')`.
 * Each of `others` is enough, too.
 * @throws TypeError where one is no name: the route would be open to every caller
 */
export function Requires<Own extends string = never>(
  scope: Scope | NoInfer<Own>,
  ...others: readonly (Scope | NoInfer<Own>)[]
) {
  const scopes = [scope, ...others];
  if (!scopes.every((one) => typeof one === 'string' && one !== '')) {
    throw new TypeError('@Requires() needs the name of a scope');
  }
  return applyDecorators(SetMetadata(REQUIRED_SCOPE, scopes), ...scopes.map((one) => ApiSecurity('principal', [one])));
}

/** A route that the worker which holds the task's lease may use, too: with `X-Lease-Token`, and without a principal. */
export const AlsoByLease = () => applyDecorators(SetMetadata(ALSO_BY_LEASE, true), ApiSecurity('leaseToken'));

/** What a follow token has to be for a route. */
export interface FollowTokenDemand {
  readonly right: FollowRight;
  /** Whether the token has to be one for all tasks of its principal. Otherwise the use-case judges which task it reaches. */
  readonly forOwner?: boolean;
  /** Whether it may also be the query parameter `token`: an `EventSource` sends no header. */
  readonly inQuery?: boolean;
}

/** A route that the holder of a follow token may use, too. Every other route refuses such tokens. */
export const OpenToFollowTokens = (right: FollowRight, more: Omit<FollowTokenDemand, 'right'> = {}) =>
  applyDecorators(
    SetMetadata(OPEN_TO_FOLLOW_TOKENS, { right, ...more } satisfies FollowTokenDemand),
    ApiSecurity('followToken'),
    ...(more.inQuery ? [ApiSecurity('followTokenInQuery')] : []),
  );

export function leaseTokenOf(request: IncomingMessage): string | undefined {
  return request.headers['x-lease-token']?.toString();
}

/** The caller of the route, as the guard resolved it. */
export const Caller = createParamDecorator((_: unknown, context: ExecutionContext): AuthContext => {
  const { auth } = context.switchToHttp().getRequest<{ readonly auth?: AuthContext }>();
  if (!auth) throw new Error('a route that asks for its caller is marked public');
  return auth;
});
