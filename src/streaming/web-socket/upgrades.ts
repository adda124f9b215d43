import type { IncomingMessage, ServerResponse } from 'node:http';
import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../../auth/auth-context.js';
import { isUnauthenticated } from '../../auth/auth.errors.js';
import { Callers } from '../../auth/callers.js';
import { DrainState } from '../../drain-state.js';
import { MethodNotAllowed, ServiceUnavailable, type TaskBridgeError, UpgradeRequired } from '../../errors.js';
import { OriginPolicy } from '../../http/origin-policy.js';

export const WEB_SOCKET_PATH = '/api/v1/tasks/ws';

/**
 * Which connections become WebSockets. All others stay requests and get ordinary answers. That includes upgrades elsewhere, or to
 * another protocol, which HTTP lets a server ignore.
 */
@Injectable()
export class Upgrades {
  /** The callers of handshakes, resolved once for each. */
  readonly #callers = new WeakMap<IncomingMessage, Promise<AuthContext>>();
  readonly #refusals = new WeakMap<IncomingMessage, TaskBridgeError>();

  constructor(
    private readonly callers: Callers,
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

  /** Rejects like `Callers.of`. The resolver is asked once for each handshake. */
  callerOf(request: IncomingMessage): Promise<AuthContext> {
    let caller = this.#callers.get(request);
    if (!caller) {
      caller = this.callers.of(request, 'subprotocol');
      this.#callers.set(request, caller);
    }
    return caller;
  }

  /**
   * Whether an accepted handshake may open a WebSocket. A client without proof of its principal gets 401 for the handshake, so that it
   * can fetch new credentials. A browser hides that status from its page, so its connection opens, and closes with a code.
   */
  async admits(request: IncomingMessage): Promise<boolean> {
    if (request.headers.origin !== undefined) return true;
    try {
      await this.callerOf(request);
    } catch (error) {
      // What fails otherwise keeps its close code.
      if (!isUnauthenticated(error)) return true;
      this.#refusals.set(request, error);
      return false;
    }
    return true;
  }

  /** Middleware that answers requests to the WebSocket's path that were not upgraded, with the reason. */
  readonly middleware = (request: IncomingMessage, _response: ServerResponse, next: () => void): void => {
    if (!isForWebSocket(request)) return next();
    const refusal = this.#refusals.get(request);
    if (refusal !== undefined) throw refusal;
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
  return withoutSlash(url?.split('?', 1)[0] ?? '') === WEB_SOCKET_PATH;
}

const withoutSlash = (path: string) => (path.endsWith('/') ? path.slice(0, -1) : path);
