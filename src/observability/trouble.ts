import type { Log } from './log.js';

/** For work that is repeated again and again: logs once that it fails, and once that it works again. */
export class Trouble {
  #failures = 0;
  #since = 0;

  /** @param begun @param over names of events */
  constructor(
    private readonly log: Log,
    private readonly begun: string,
    private readonly over: string,
    private readonly level: 'warn' | 'error' = 'warn',
  ) {}

  /** @param fields of the line, besides the error */
  failed(err: unknown, fields: object = {}): void {
    this.#failures += 1;
    if (this.#failures > 1) return;
    this.#since = performance.now();
    this.log[this.level]({ ...fields, err }, this.begun);
  }

  worked(): void {
    if (this.#failures === 0) return;
    const duration_ms = Math.round(performance.now() - this.#since);
    this.log.info({ failures: this.#failures, duration_ms }, this.over);
    this.#failures = 0;
  }
}
