import { Injectable } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';

/** Set by the drain, once and for good: not ready any more, no new streams. */
@Injectable()
export class DrainState {
  draining = false;

  /** Has whoever keeps a connection open for the next request make another one, elsewhere: this one would be cut off under it. */
  readonly middleware = (_req: Request, res: Response, next: NextFunction): void => {
    if (this.draining) res.setHeader('Connection', 'close');
    next();
  };
}
