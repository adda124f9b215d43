import { Injectable } from '@nestjs/common';
import { Log } from '../observability/log.js';
import { Trouble } from '../observability/trouble.js';
import { Rounds } from '../rounds.js';
import { RunBulks } from './run-bulks.js';

const EVERY_MS = 1_000;

/** Looks for bulks with work that is due. An idle round is one query on an empty index. */
@Injectable()
export class BulkClock {
  readonly #rounds = new Rounds(
    () => this.round(),
    () => EVERY_MS * (0.75 + Math.random() / 2),
  );
  readonly #trouble: Trouble;

  constructor(
    private readonly bulks: RunBulks,
    log: Log,
  ) {
    this.#trouble = new Trouble(log, 'bulks.failed', 'bulks.recovered');
  }

  start(): void {
    this.#rounds.start();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  private async round(): Promise<void> {
    try {
      await this.bulks.execute();
      this.#trouble.worked();
    } catch (error) {
      this.#trouble.failed(error);
    }
  }
}
