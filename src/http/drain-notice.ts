import type { NextFunction, Request, Response } from 'express';
import type { DrainState } from '../drain-state.js';

/** Middleware. While draining, answers say `Connection: close`, so keep-alive clients reconnect to another replica. */
export function drainNotice(drain: DrainState) {
  return (_req: Request, res: Response, next: NextFunction): void => {
    if (drain.has('announced')) res.setHeader('Connection', 'close');
    next();
  };
}
