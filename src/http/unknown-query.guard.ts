import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/internal';
import { RouteParamtypes } from '@nestjs/common/internal';
import type { Request } from 'express';
import { InvalidRequest } from '../errors.js';

/**
 * A query parameter on a route that takes none is refused like an unknown one elsewhere: it may be a misspelled cursor. So is a query
 * that is not UTF-8, because two of its values may become the same text.
 */
@Injectable()
export class UnknownQueryGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    if (context.getType() !== 'http') return true;
    const { query, url } = context.switchToHttp().getRequest<Request>();
    checkEncoding(url);
    if (Object.keys(query).length > 0 && !takesQuery(context)) {
      throw new InvalidRequest('This route takes no query parameters.');
    }
    return true;
  }
}

/** @throws InvalidRequest */
function checkEncoding(url: string): void {
  try {
    decodeURIComponent(url.slice(url.indexOf('?') + 1));
  } catch {
    throw new InvalidRequest('The query must be UTF-8, and percent-encoded.');
  }
}

function takesQuery(context: ExecutionContext): boolean {
  const args = Reflect.getMetadata(ROUTE_ARGS_METADATA, context.getClass(), context.getHandler().name) as
    | object
    | undefined;
  return Object.keys(args ?? {}).some((key) => key.startsWith(`${RouteParamtypes.QUERY}:`));
}
