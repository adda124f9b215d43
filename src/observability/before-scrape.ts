import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';

/** A scrape is answered in any case: Prometheus gives up after ten seconds, and all other metrics are there. */
const PATIENCE_MS = 1_500;

/** What is measured only when somebody looks. */
@Injectable()
export class BeforeScrape {
  readonly #measures: (() => Promise<unknown>)[] = [];

  /** `measure` sets its metrics, and never rejects. */
  add(measure: () => Promise<unknown>): void {
    this.#measures.push(measure);
  }

  async measure(): Promise<void> {
    const measured = Promise.all(this.#measures.map((measure) => measure()));
    await Promise.race([measured, delay(PATIENCE_MS, undefined, { ref: false })]);
  }
}
