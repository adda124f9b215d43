import { Injectable } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';
import type { AuthContext } from '../auth/auth-context.js';
import { boundedText } from './bounded-text.js';
import { Log } from './log.js';
import { MetricsSink } from './metrics-sink.js';
import { isProbeOrScrape } from './ops-gate.js';

/** One line and one observation for each request, at its end. Neither headers, nor bodies, nor query values. */
@Injectable()
export class AccessLog {
  constructor(
    private readonly log: Log,
    private readonly metrics: MetricsSink,
  ) {}

  /** Runs right behind `correlation`, before every part that may refuse a request. */
  readonly middleware = (req: Request, res: Response, next: NextFunction): void => {
    const path = req.originalUrl.split('?', 1)[0] ?? '';
    if (!isProbeOrScrape(path)) {
      const startedAt = performance.now();
      res.once('close', () => this.closed(req, res, path, (performance.now() - startedAt) / 1000));
    }
    next();
  };

  private closed(req: Request, res: Response, path: string, seconds: number): void {
    const { method } = req;
    const route = routeOf(req);
    // The client left before the end of the answer. 499 is nginx's status for that.
    const aborted = !res.writableFinished;
    const status = aborted && !res.headersSent ? 499 : res.statusCode;
    this.metrics.observe('http_request_duration_seconds', seconds, {
      method,
      route: route ?? 'none',
      status: String(status),
    });
    const { auth, workerGrant } = req as { auth?: AuthContext; workerGrant?: { readonly name?: string } };
    const principalId = auth?.subject;
    this.log[status >= 500 ? 'warn' : 'info'](
      {
        method,
        route: route ?? null,
        ...(route === undefined && { path: boundedText(path) }),
        status,
        duration_ms: Math.round(seconds * 1e5) / 100,
        ...(principalId !== undefined && { principal_id: boundedText(principalId) }),
        ...(workerGrant?.name !== undefined && { worker_token: workerGrant.name }),
      },
      aborted ? 'http_request.aborted' : 'http_request.completed',
    );
  }
}

/** The template, such as `/api/v1/tasks/:taskId`. Undefined when no route took the request. */
function routeOf(req: Request): string | undefined {
  const { path } = (req.route ?? {}) as { path?: unknown };
  return typeof path === 'string' ? path : undefined;
}
