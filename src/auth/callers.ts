import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { isName, isReserved, NOBODY, type AuthContext } from './auth-context.js';
import { AuthContextResolver } from './auth-context-resolver.js';
import { NotAuthenticated } from './auth.errors.js';

/** Who is calling, for HTTP, SSE and the WebSocket upgrade alike. Here and nowhere else what a resolver says is taken in. */
@Injectable()
export class Callers {
  constructor(private readonly resolver: AuthContextResolver) {}

  /**
   * Reserved ids are refused whichever resolver they come from: an identity provider lets people choose names, and nobody may be
   * the service itself, or look like a worker in the log of a task.
   * @throws NotAuthenticated, and whatever else the resolver throws
   */
  async of(request: IncomingMessage): Promise<AuthContext> {
    const auth = await this.resolver.resolve(request);
    if (auth === NOBODY) return auth;
    const { subject } = auth;
    if (isReserved(subject)) throw new NotAuthenticated('The principal is reserved.');
    if (!isName(subject)) throw new NotAuthenticated('The principal is malformed.');
    return auth;
  }
}
