import { Injectable } from '@nestjs/common';
import { within } from '../deadline.js';

/** A scrape always gets an answer: Prometheus gives up after ten seconds, and all other metrics are available. */
const PATIENCE_MS = 1_500;

/** Metrics that are measured only at a scrape. */
@Injectable()
export class BeforeScrape {
  readonly #measures: (() => Promise<unknown>)[] = [];

  /** `measure` sets its metrics, and never rejects. */
  add(measure: () => Promise<unknown>): void {
    this.#measures.push(measure);
  }

  async measure(): Promise<void> {
    await within(PATIENCE_MS, Promise.all(this.#measures.map((measure) => measure())));
  }
}
