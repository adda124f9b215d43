import type { IncomingMessage } from 'node:http';
import type { AuthContext } from './auth-context.js';

/**
 * Turns a request into who is calling. The same resolver serves HTTP, SSE and the WebSocket upgrade, so it may look at headers
 * and the URL only, never at a body.
 */
export abstract class AuthContextResolver {
  /**
   * The subject is 1 to 128 characters without controls, and none of the reserved ones: the system principal, `system`, `worker:…`.
   * @throws NotAuthenticated when the request does not say who is calling, or says it in a way that does not count
   */
  abstract resolve(request: IncomingMessage): AuthContext | Promise<AuthContext>;
}
