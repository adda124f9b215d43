import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { RouteNotFound } from '../errors.js';

/** Probes and scrapes. They come every few seconds without end, so they are neither logged nor counted nor traced. */
export function isProbeOrScrape(url: string | undefined): boolean {
  return /^\/(health|ready|metrics)\/?(\?|$)/i.test(url ?? '');
}

/**
 * Decides which requests see what is for the operator: with OPS_PORT only those that come over it, without it all. OPS_PORT
 * serves nothing else, so a network policy that opens it opens no way to the tasks.
 */
export class OpsGate {
  readonly #overOpsPort = new WeakSet<IncomingMessage>();

  constructor(private readonly hasOpsPort: boolean) {}

  /** Marks requests of the second server. */
  listener(application: RequestListener): RequestListener {
    return (req, res) => {
      this.#overOpsPort.add(req);
      return application(req, res);
    };
  }

  isForOperator(req: IncomingMessage): boolean {
    return !this.hasOpsPort || this.#overOpsPort.has(req);
  }

  /** @throws RouteNotFound over OPS_PORT, for all but probes and scrapes */
  readonly middleware = (req: IncomingMessage, _res: ServerResponse, next: (error?: unknown) => void): void => {
    if (this.#overOpsPort.has(req) && !isProbeOrScrape(req.url)) return next(new RouteNotFound());
    next();
  };
}
