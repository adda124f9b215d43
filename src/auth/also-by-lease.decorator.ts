import type { IncomingMessage } from 'node:http';
import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';

export const ALSO_BY_LEASE = 'taskbridge:also-by-lease';

/** A route that the worker which holds the task's lease may use, too: with `X-Lease-Token`, and without a principal. */
export const AlsoByLease = () => applyDecorators(SetMetadata(ALSO_BY_LEASE, true), ApiSecurity('leaseToken'));

export function leaseTokenOf(request: IncomingMessage): string | undefined {
  return request.headers['x-lease-token']?.toString();
}
