import type { AuthContext } from './auth-context.js';
import { carried } from './carried-attributes.js';

/** A caller as it is kept for what the service does in its name later. JSON. */
export interface StoredPrincipal {
  readonly subject: string;
  readonly tenantId?: string;
  readonly appId?: string;
  readonly scopes: readonly string[];
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** @throws AccessDenied when its attributes cannot be kept */
export function storedPrincipal({ subject, tenantId, appId, scopes, attributes }: AuthContext): StoredPrincipal {
  return {
    subject,
    ...(tenantId !== undefined && { tenantId }),
    ...(appId !== undefined && { appId }),
    scopes: [...scopes],
    attributes: carried(attributes),
  };
}

export function callerOf({ scopes, ...principal }: StoredPrincipal): AuthContext {
  return { ...principal, scopes: new Set(scopes) };
}
