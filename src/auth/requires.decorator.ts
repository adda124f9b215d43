import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import type { Scope } from './auth-context.js';

export const REQUIRED_SCOPE = 'taskbridge:scope';

/**
 * The scope that a route demands, or every route of a controller. A scope that only a host's resolver gives is named twice, so that a
 * misspelt one does not compile: `@Requires<'acme:orders'>('acme:orders')`.
 * @throws TypeError where it is no name: the route would be open to every caller
 */
export function Requires<Own extends string = never>(scope: Scope | NoInfer<Own>) {
  if (typeof scope !== 'string' || scope === '') throw new TypeError('@Requires() needs the name of a scope');
  return applyDecorators(SetMetadata(REQUIRED_SCOPE, scope), ApiSecurity('principal', [scope]));
}
