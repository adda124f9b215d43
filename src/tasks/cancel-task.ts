import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { TaskExecutor } from '../execution/task-executor.js';
import { currentCorrelationId } from '../observability/correlation.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { isOver } from './domain/task.js';
import { TaskNotFound } from './domain/tasks.errors.js';
import { lockTask } from './store/lock-tasks.js';
import { TaskWriter } from './task-writer.js';
import { isTaskId } from './task-id.js';

export interface Cancelled {
  readonly taskId: string;
  readonly status: 'CANCELLATION_REQUESTED' | 'ALREADY_TERMINAL';
}

/** Asks a task to end. Durable before the answer; whoever runs it is told, and made to after the grace period. */
@Injectable()
export class CancelTask {
  constructor(
    private readonly writer: TaskWriter,
    private readonly executor: TaskExecutor,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
    private readonly metrics: MetricsSink,
  ) {}

  /** @throws TaskNotFound when there is no such task that the caller may control */
  execute(auth: AuthContext, taskId: string, reason = 'cancelled_by_user'): Promise<Cancelled> {
    return this.observer.command('cancel_task', { principalId: auth.subject, taskId }, async (note) => {
      if (!isTaskId(taskId)) throw new TaskNotFound();
      const [written] = await this.writer.write(
        async (tx) => {
          const records = await lockTask(tx, taskId);
          const allowed = records[0] && (await this.ownership.mayControl(auth, records[0].identity));
          if (!allowed) throw new TaskNotFound();
          return records;
        },
        () => ({ kind: 'request_cancellation', reason }),
        { principalId: auth.subject, correlationId: currentCorrelationId(), fromOutside: true },
      );
      const status = written && isOver(written.record.task.status) ? 'ALREADY_TERMINAL' : 'CANCELLATION_REQUESTED';
      const stored = written?.events.at(-1);
      note({ outcome: status, ...(stored && { eventId: String(stored.eventId) }) });
      if (status === 'CANCELLATION_REQUESTED') {
        this.metrics.increment('cancels_total');
        this.executor.cancelled({ taskId });
      }
      return { taskId, status };
    });
  }
}
