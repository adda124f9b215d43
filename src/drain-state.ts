import { Injectable } from '@nestjs/common';

/**
 * How far the drain of this replica has come.
 *
 * - `announced`: `/ready` is 503, and answers say `Connection: close`. Everything else is served as before.
 * - `streams end`: no stream begins, and open ones end.
 * - `work ends`: no claim waits, and no attempt begins.
 */
const STAGES = ['serving', 'announced', 'streams end', 'work ends'] as const;
type Stage = (typeof STAGES)[number];

/** The one state of the drain. All parts of the replica ask it, and it never goes back. */
@Injectable()
export class DrainState {
  #reached = 0;
  readonly #workEnds = new AbortController();

  has(stage: Exclude<Stage, 'serving'>): boolean {
    return this.#reached >= STAGES.indexOf(stage);
  }

  /** Aborts with the stage `work ends`. */
  get workEnds(): AbortSignal {
    return this.#workEnds.signal;
  }

  /** A stage that was reached already changes nothing. */
  reach(stage: Exclude<Stage, 'serving'>): void {
    this.#reached = Math.max(this.#reached, STAGES.indexOf(stage));
    if (this.has('work ends')) this.#workEnds.abort();
  }
}
