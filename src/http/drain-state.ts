import { Injectable } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';

/** Set once by the drain, and never reset: not ready, no new streams. */
@Injectable()
export class DrainState {
  draining = false;

  /** While draining, answers say `Connection: close`, so keep-alive clients reconnect to another replica. */
  readonly middleware = (_req: Request, res: Response, next: NextFunction): void => {
    if (this.draining) res.setHeader('Connection', 'close');
    next();
  };
}
