import type { AuthConfig } from './auth.config.js';
import type { AuthContextResolver } from './auth-context-resolver.js';
import { ProxyHeaderResolver } from './proxy-header-resolver.js';

/** The headers that prove something, as OpenAPI and AsyncAPI name them. */
export const SECURITY_SCHEMES = {
  principal: {
    header: 'X-Principal-Id',
    description: 'The proxy in front of the service proves the caller, and sends the id of the principal.',
  },
  proxySecret: { header: 'X-Auth-Proxy-Secret', description: 'The secret by which the proxy proves itself.' },
  leaseToken: { header: 'X-Lease-Token', description: 'Of the worker that holds the lease of the task.' },
} as const;

export type SecurityScheme = keyof typeof SECURITY_SCHEMES;

/**
 * The ways in which a caller proves its principal: each is a list of schemes that are needed together. An empty one admits callers
 * without a principal. Undefined where the host module decides.
 */
export function waysToCall(resolver: AuthContextResolver, config: AuthConfig): readonly SecurityScheme[][] | undefined {
  if (!(resolver instanceof ProxyHeaderResolver)) return undefined;
  return [
    ['principal', ...(config.proxySecrets.length > 0 ? (['proxySecret'] as const) : [])],
    ...(config.requireAuthenticatedPrincipal ? [] : [[]]),
  ];
}
