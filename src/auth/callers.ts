import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { isName, isNamed, isReserved, type AuthContext } from './auth-context.js';
import { AuthContextResolver } from './auth-context-resolver.js';
import { NotAuthenticated } from './auth.errors.js';

/** Resolves callers for HTTP, SSE and the WebSocket upgrade. This class alone accepts the answer of a resolver. */
@Injectable()
export class Callers {
  constructor(private readonly resolver: AuthContextResolver) {}

  /**
   * Reserved ids are refused from every resolver. Identity providers let people choose names, and no person may act as the
   * service itself or look like a worker in a task's log.
   * @throws NotAuthenticated, and every other error of the resolver
   */
  async of(request: IncomingMessage): Promise<AuthContext> {
    const auth = await this.resolver.resolve(request);
    if (!isNamed(auth)) return auth;
    const { subject } = auth;
    if (isReserved(subject)) throw new NotAuthenticated('The principal is reserved.');
    if (!isName(subject)) throw new NotAuthenticated('The principal is malformed.');
    return auth;
  }
}
