import type { IncomingMessage } from 'node:http';
import type { AuthContext } from './auth-context.js';

/**
 * Resolves the caller of a request. The same resolver serves HTTP, SSE and the WebSocket upgrade, so it may look at headers and
 * the URL only, never at a body.
 */
export abstract class AuthContextResolver {
  /**
   * The subject is 1 to 128 characters without controls, and none of the reserved ones: the system principal, `system`,
   * `worker:…`.
   * @throws NotAuthenticated when the request names no caller, or does not prove it
   */
  abstract resolve(request: IncomingMessage): AuthContext | Promise<AuthContext>;

  /**
   * Whether credentials that `resolve` accepted still count. A resolver need not have it. It is asked every 30 s for each open
   * connection, and for holders of follow tokens with what their token carries. `false` ends the connection.
   */
  isStillValid?(auth: AuthContext): boolean | Promise<boolean>;
}
