import { Injectable } from '@nestjs/common';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Observer } from '../observability/observer.js';
import type { Command } from './domain/decide.js';
import { LeaseLost } from './domain/tasks.errors.js';
import { lockTask } from './store/lock-tasks.js';
import { TaskWriter } from './task-writer.js';

/** The ways in which the holder of a lease gives it back. */
export type Ending = Extract<Command, { kind: 'complete' | 'fail' | 'confirm_cancellation' | 'release' }>;

/** The terminal event, or the one that announces the next attempt, with the end of the lease: one transaction. */
@Injectable()
export class EndAttempt {
  constructor(
    private readonly writer: TaskWriter,
    private readonly observer: Observer,
    private readonly metrics: MetricsSink,
  ) {}

  /** @throws LeaseLost when the lease was over before */
  execute(taskId: string, ending: Ending, principalId: string): Promise<void> {
    return this.observer.command(`${ending.kind}_attempt`, { principalId, taskId }, async (note) => {
      const [written] = await this.writer.write(
        (tx) => lockTask(tx, taskId),
        () => ending,
        { principalId },
      );
      if (!written) throw new LeaseLost();
      note({ outcome: written.after.status });
      if (written.after.status === 'FAILED') this.metrics.increment('task_failures_total');
    });
  }
}
