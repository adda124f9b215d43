import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import { AccessDenied, NotAuthenticated } from '../../auth/auth.errors.js';
import { Secrets } from '../../auth/secrets.js';
import { ExecutionConfig } from '../execution.config.js';

/**
 * Workers have their own credential, so they never hold the proxy's secret. No header of a client makes a worker. A token grants
 * `tasks:execute` and nothing else.
 */
@Injectable()
export class WorkerTokenGuard implements CanActivate {
  readonly #tokens: Secrets;

  constructor(private readonly config: ExecutionConfig) {
    this.#tokens = new Secrets(config.workerTokens);
  }

  canActivate(context: ExecutionContext): boolean {
    const { rawHeaders } = context.switchToHttp().getRequest<Request>();
    const given = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization');
    const token = given.length === 1 ? /^Bearer ([\x21-\x7e]+)$/i.exec(given[0] ?? '')?.[1] : undefined;
    const isKnown = this.#tokens.include(token ?? '');
    if (token === undefined || !isKnown) throw new NotAuthenticated('A worker token is required.');
    if (!this.config.executors.includes('worker'))
      throw new AccessDenied('This replica hands out no work to remote workers.');
    return true;
  }
}
