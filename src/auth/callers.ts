import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { isReserved, NOBODY, type AuthContext } from './auth-context.js';
import { AuthContextResolver } from './auth-context-resolver.js';
import { NotAuthenticated } from './auth.errors.js';

const MAX_SUBJECT_LENGTH = 128;

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
    // PostgreSQL keeps no U+0000.
    const isKept = subject !== '' && subject.length <= MAX_SUBJECT_LENGTH && !subject.includes('\0');
    if (!isKept) throw new NotAuthenticated('The principal is malformed.');
    return auth;
  }
}
