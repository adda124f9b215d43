import { createHash, timingSafeEqual } from 'node:crypto';
import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import { AccessDenied, NotAuthenticated } from '../../auth/auth.errors.js';
import { ExecutionConfig } from '../execution.config.js';

/**
 * Workers have their own credential, so they never hold the proxy's secret. No header of a client makes a worker. A token grants
 * `tasks:execute` and nothing else.
 */
@Injectable()
export class WorkerTokenGuard implements CanActivate {
  readonly #tokens: readonly Buffer[];

  constructor(private readonly config: ExecutionConfig) {
    this.#tokens = config.workerTokens.map(digest);
  }

  canActivate(context: ExecutionContext): boolean {
    const { rawHeaders } = context.switchToHttp().getRequest<Request>();
    const given = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization');
    const token = given.length === 1 ? /^Bearer ([\x21-\x7e]+)$/i.exec(given[0] ?? '')?.[1] : undefined;
    // Every token is compared in constant time, so the time of an answer reveals nothing about the tokens.
    const matches = this.#tokens.filter((known) => timingSafeEqual(known, digest(token ?? ''))).length;
    if (token === undefined || matches === 0) throw new NotAuthenticated('A worker token is required.');
    if (!this.config.worker) throw new AccessDenied('This replica hands out no work to remote workers.');
    return true;
  }
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
