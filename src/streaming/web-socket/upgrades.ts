import type { IncomingMessage, ServerResponse } from 'node:http';
import { Injectable } from '@nestjs/common';
import { DrainState } from '../../drain-state.js';
import { MethodNotAllowed, ServiceUnavailable, UpgradeRequired } from '../../errors.js';
import { OriginPolicy } from '../../http/origin-policy.js';

export const WEB_SOCKET_PATH = '/api/v1/tasks/ws';

/**
 * Which connections become WebSockets. All others stay requests and get ordinary answers. That includes upgrades elsewhere, or to
 * another protocol, which HTTP lets a server ignore.
 */
@Injectable()
export class Upgrades {
  constructor(
    private readonly origins: OriginPolicy,
    private readonly drain: DrainState,
  ) {}

  /** For Node's server, which calls it for every request with an upgrade. */
  readonly accepts = (request: IncomingMessage): boolean => {
    if (!isForWebSocket(request)) return false;
    try {
      this.check(request);
      return true;
    } catch {
      return false;
    }
  };

  /** Middleware that answers requests to the WebSocket's path that were not upgraded, with the reason. */
  readonly middleware = (request: IncomingMessage, _response: ServerResponse, next: () => void): void => {
    if (!isForWebSocket(request)) return next();
    this.check(request);
    // Without `Connection: upgrade` the request asks for no upgrade.
    throw new UpgradeRequired();
  };

  private check(request: IncomingMessage): void {
    if (request.method !== 'GET') throw new MethodNotAllowed(['GET']);
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') throw new UpgradeRequired();
    this.origins.check(request);
    if (this.drain.has('streams end')) throw new ServiceUnavailable(1);
  }
}

function isForWebSocket({ url }: IncomingMessage): boolean {
  return url?.split('?', 1)[0] === WEB_SOCKET_PATH;
}
