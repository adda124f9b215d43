import { Injectable } from '@nestjs/common';
import { resumedStory, runInStory } from '../observability/correlation.js';
import { Log } from '../observability/log.js';
import { Trouble } from '../observability/trouble.js';
import { EndLostAttempts } from '../tasks/end-lost-attempts.js';
import type { Written } from '../tasks/task-writer.js';

/** How late the end of a lost attempt may be. */
const EVERY_MS = 500;

/** Sees to it that nobody waits for ever for somebody who is gone. Every replica has one; they do not get in each other's way. */
@Injectable()
export class Reaper {
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  readonly #trouble: Trouble;

  constructor(
    private readonly endLostAttempts: EndLostAttempts,
    private readonly log: Log,
  ) {
    this.#trouble = new Trouble(log, 'reaper.failed', 'reaper.recovered');
  }

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
      for (const ended of await this.endLostAttempts.execute()) this.tell(ended);
      this.#trouble.worked();
    } catch (error) {
      this.#trouble.failed(error);
    }
  }

  /** In the story of the task, where whoever asks what became of it looks. */
  private tell({ record: { identity, task, traceparent }, after }: Written): void {
    const { taskId, taskType, correlationId } = identity;
    const story = resumedStory({ correlationId, traceparent, causationId: String(task.headEventId) });
    const fields = {
      taskId,
      taskType,
      attempt: after.attempt,
      eventId: String(after.headEventId),
      outcome: after.status,
    };
    runInStory(story, () => this.log.warn(fields, 'reaper.attempt_ended'));
  }
}
