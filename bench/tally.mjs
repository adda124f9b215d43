// Who ran what: plain JavaScript, because the service under test loads it beside host-module.mjs.
import { setTimeout as delay } from 'node:timers/promises';

/** Silence for this time means that a task was lost. */
const STALLED_MS = 10_000;

/** Counts runs of a known number of tasks. A task that runs twice, or never, makes the run void. */
export class Tally {
  #ran = new Set();
  #doubled = 0;
  #stalledMs;
  /** When the first task ran, in ms of `performance.now()`. */
  firstAt = Number.NaN;

  constructor(stalledMs = STALLED_MS) {
    this.#stalledMs = stalledMs;
  }

  /** Forgets what ran before. */
  begin() {
    this.#ran = new Set();
    this.#doubled = 0;
    this.firstAt = Number.NaN;
  }

  ran(id) {
    if (this.#ran.size === 0) this.firstAt = performance.now();
    if (this.#ran.has(id)) this.#doubled += 1;
    this.#ran.add(id);
  }

  /** Resolves when `count` different tasks ran. Rejects after a silence, or when one ran twice. */
  async reaches(count) {
    for (let seen = -1, since = performance.now(); this.#ran.size < count; await delay(2)) {
      if (this.#ran.size !== seen) [seen, since] = [this.#ran.size, performance.now()];
      else if (performance.now() - since > this.#stalledMs)
        throw new Error(`${count - seen} of ${count} tasks never ran`);
    }
    if (this.#doubled > 0 || this.#ran.size > count) {
      throw new Error(`${this.#ran.size} tasks ran of ${count}, ${this.#doubled} once more`);
    }
  }
}
