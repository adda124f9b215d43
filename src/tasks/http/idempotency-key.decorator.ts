import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import { InvalidRequest } from '../../errors.js';
import { CLIENT_REQUEST_ID } from './dto/create-task.dto.js';

/** The `Idempotency-Key` header; undefined when there is none. @throws InvalidRequest when it is malformed */
export const IdempotencyKey = createParamDecorator((_: unknown, context: ExecutionContext): string | undefined => {
  const key = context.switchToHttp().getRequest<Request>().headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || !CLIENT_REQUEST_ID.test(key)) {
    throw new InvalidRequest('Idempotency-Key must be 1 to 255 visible ASCII characters, given once.');
  }
  return key;
});
