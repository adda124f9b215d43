import { Injectable } from '@nestjs/common';
import { Log } from '../observability/log.js';
import { EndLostAttempts } from '../tasks/end-lost-attempts.js';

/** How late the end of a lost attempt may be. */
const EVERY_MS = 500;

/** Sees to it that nobody waits for ever for somebody who is gone. Every replica has one; they do not get in each other's way. */
@Injectable()
export class Reaper {
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(
    private readonly endLostAttempts: EndLostAttempts,
    private readonly log: Log,
  ) {}

  start(): void {
    this.#timer = setTimeout(() => this.round(), EVERY_MS * Math.random());
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  /** The next round begins after this one, however long it took. */
  private round(): void {
    this.#running = this.reap().then(() => {
      if (this.#timer) this.#timer = setTimeout(() => this.round(), EVERY_MS * (0.75 + Math.random() / 2));
    });
  }

  private async reap(): Promise<void> {
    try {
      for (const { record, after } of await this.endLostAttempts.execute()) {
        const { taskId, taskType } = record.identity;
        this.log.warn({ taskId, taskType, attempt: after.attempt, outcome: after.status }, 'reaper.attempt_ended');
      }
    } catch (error) {
      this.log.warn({ err: error }, 'reaper.failed');
    }
  }
}
