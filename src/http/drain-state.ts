import { Injectable } from '@nestjs/common';

/** Set by the drain, once and for good: not ready any more, no new streams. */
@Injectable()
export class DrainState {
  draining = false;
}
