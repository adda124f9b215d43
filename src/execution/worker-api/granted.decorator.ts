import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import type { WorkerGrant } from '../worker-grant.js';

export type WorkerRequest = Request & { workerGrant?: WorkerGrant };

/** What the token of the request grants, as the guard found it. */
export const Granted = createParamDecorator((_: unknown, context: ExecutionContext): WorkerGrant => {
  const { workerGrant } = context.switchToHttp().getRequest<WorkerRequest>();
  if (!workerGrant) throw new Error('a route of workers without the guard of worker tokens');
  return workerGrant;
});
