import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { AccessDenied, NotAuthenticated } from '../../auth/auth.errors.js';
import { Secrets } from '../../auth/secrets.js';
import { ExecutionConfig } from '../execution.config.js';
import { taskIdFrom } from '#protocol/ids.js';
import { WorkerReach } from '../worker-reach.js';
import type { WorkerRequest } from './granted.decorator.js';

/**
 * Workers have their own credential, so they never hold the proxy's secret. No header of a client makes a worker. A token grants
 * `tasks:execute` and nothing else. On every route that names a task, the token has to cover it.
 */
@Injectable()
export class WorkerTokenGuard implements CanActivate {
  readonly #tokens: Secrets;

  constructor(
    private readonly config: ExecutionConfig,
    private readonly reach: WorkerReach,
  ) {
    this.#tokens = new Secrets(config.workerTokens.map(({ token }) => token));
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<WorkerRequest>();
    const { rawHeaders, params } = request;
    const given = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization');
    const token = given.length === 1 ? /^Bearer ([\x21-\x7e]+)$/i.exec(given[0] ?? '')?.[1] : undefined;
    const place = this.#tokens.placeOf(token ?? '');
    const grant = token === undefined || place === undefined ? undefined : this.config.workerTokens[place];
    if (!grant) throw new NotAuthenticated('A worker token is required.');
    if (!this.config.executors.includes('worker'))
      throw new AccessDenied('This replica hands out no work to remote workers.');
    request.workerGrant = grant;
    if (typeof params['taskId'] === 'string') await this.reach.demand(grant, taskIdFrom(params['taskId']));
    return true;
  }
}
