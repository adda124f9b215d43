import type { IncomingMessage, ServerResponse } from 'node:http';
import { Injectable } from '@nestjs/common';
import { MethodNotAllowed, ServiceUnavailable, UpgradeRequired } from '../http/http.errors.js';
import { OriginPolicy } from '../http/origin-policy.js';
import { Streams } from './streams.js';

export const WEB_SOCKET_PATH = '/api/v1/tasks/ws';

/**
 * Which connections become WebSockets. All others stay requests and are answered like any: also those that ask for an upgrade
 * elsewhere, or to something else, which HTTP has a server ignore.
 */
@Injectable()
export class Upgrades {
  constructor(
    private readonly origins: OriginPolicy,
    private readonly streams: Streams,
  ) {}

  /** For Node's server, which asks of every request that would be upgraded. */
  readonly accepts = (request: IncomingMessage): boolean => {
    if (!isForWebSocket(request)) return false;
    try {
      this.check(request);
      return true;
    } catch {
      return false;
    }
  };

  /** Middleware that tells those that came to the path of the WebSocket, and stayed requests, why. */
  readonly middleware = (request: IncomingMessage, _response: ServerResponse, next: () => void): void => {
    if (!isForWebSocket(request)) return next();
    this.check(request);
    // Without `Connection: upgrade` it is none.
    throw new UpgradeRequired();
  };

  private check(request: IncomingMessage): void {
    if (request.method !== 'GET') throw new MethodNotAllowed(['GET']);
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') throw new UpgradeRequired();
    this.origins.check(request);
    if (this.streams.isDraining) throw new ServiceUnavailable(1);
  }
}

function isForWebSocket({ url }: IncomingMessage): boolean {
  return url?.split('?', 1)[0] === WEB_SOCKET_PATH;
}
