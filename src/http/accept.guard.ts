import { type CanActivate, type ExecutionContext, Injectable, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Request } from 'express';
import { PUBLIC } from '../auth/route.decorators.js';
import { NotAcceptable } from '../errors.js';

const PRODUCES = 'taskbridge:produces';

/** The media type that a route answers with. Defaults to JSON; `null` means any type. */
export const Produces = (mediaType: string | null) => SetMetadata(PRODUCES, mediaType);

/** A client that accepts only other types gets 406 before any work. Probes and scrapes always get an answer. */
@Injectable()
export class AcceptGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    if (context.getType() !== 'http') return true;
    const target = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<boolean>(PUBLIC, target)) return true;
    const declared = this.reflector.getAllAndOverride<string | null | undefined>(PRODUCES, target);
    const mediaType = declared === undefined ? 'application/json' : declared;
    const request = context.switchToHttp().getRequest<Request>();
    if (mediaType !== null && request.accepts(mediaType) === false) {
      throw new NotAcceptable(`This route answers with ${mediaType}.`);
    }
    return true;
  }
}
