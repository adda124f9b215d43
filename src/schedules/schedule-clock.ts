import { Injectable } from '@nestjs/common';
import { Log } from '../observability/log.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Trouble } from '../observability/trouble.js';
import { Rounds } from '../rounds.js';
import { RunSchedules } from './run-schedules.js';

/** So late is a tick at most, while nothing fails. */
const EVERY_MS = 1_000;

/** Looks for due ticks. One query a second for each replica, on an index of schedules. */
@Injectable()
export class ScheduleClock {
  readonly #rounds = new Rounds(
    () => this.round(),
    () => EVERY_MS * (0.75 + Math.random() / 4),
  );
  readonly #trouble: Trouble;

  constructor(
    private readonly schedules: RunSchedules,
    private readonly metrics: MetricsSink,
    log: Log,
  ) {
    this.#trouble = new Trouble(log, 'schedules.failed', 'schedules.recovered');
  }

  start(): void {
    this.metrics.set('schedules_failing', 0);
    this.#rounds.start();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  private async round(): Promise<void> {
    try {
      await this.schedules.execute();
      this.metrics.set('schedules_failing', 0);
      this.#trouble.worked();
    } catch (error) {
      this.metrics.set('schedules_failing', 1);
      this.#trouble.failed(error);
    }
  }
}
