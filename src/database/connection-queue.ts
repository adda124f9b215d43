import { DatabaseUnavailable } from './database.errors.js';

/** PostgreSQL could not serve more in time, so further callers are refused at once. */
const MAX_WAITING = 2_000;
/** How long PostgreSQL may serve no caller before the waiting callers are refused. */
const STALLED_AFTER_MS = 2_000;
/** No caller waits longer, even while the queue moves. */
const LONGEST_WAIT_MS = 5_000;
const LOOK_EVERY_MS = 100;

interface Waiting {
  readonly since: number;
  readonly admit: () => void;
  readonly refuse: (reason: DatabaseUnavailable) => void;
}

/**
 * The queue in front of the connections, first come, first served. While PostgreSQL serves callers, the others wait, so a burst is
 * only slow. When PostgreSQL serves none, they are refused.
 */
export class ConnectionQueue {
  readonly #waiting = new Set<Waiting>();
  #free: number;
  #lastServed = 0;
  #look: NodeJS.Timeout | undefined;

  /** @param places how many callers have a turn at a time */
  constructor(places: number) {
    this.#free = places;
  }

  /** Resolves when it is the caller's turn. The caller then has to `leave`. Throws `DatabaseUnavailable`. */
  async enter(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    if (this.#waiting.size >= MAX_WAITING)
      throw new DatabaseUnavailable(new Error(`${MAX_WAITING} requests wait already`));
    this.#look ??= setInterval(() => this.#refuseWhoWaitsInVain(), LOOK_EVERY_MS).unref();
    await new Promise<void>((admit, refuse) => {
      this.#waiting.add({ since: performance.now(), admit, refuse });
    });
  }

  /** @param served whether PostgreSQL answered the caller */
  leave(served: boolean): void {
    if (served) this.#lastServed = performance.now();
    const [next] = this.#waiting;
    if (next) {
      this.#waiting.delete(next);
      next.admit();
    } else {
      this.#free += 1;
      clearInterval(this.#look);
      this.#look = undefined;
    }
  }

  #refuseWhoWaitsInVain(): void {
    const now = performance.now();
    for (const waiting of this.#waiting) {
      const inVain = now - Math.max(waiting.since, this.#lastServed) >= STALLED_AFTER_MS;
      if (!inVain && now - waiting.since < LONGEST_WAIT_MS) return;
      this.#waiting.delete(waiting);
      waiting.refuse(new DatabaseUnavailable(new Error('no connection was free in time')));
    }
  }
}
