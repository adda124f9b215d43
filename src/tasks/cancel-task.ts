import { Injectable } from '@nestjs/common';
import type { Cancellation } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { TaskExecutor } from './ports/task-executor.js';
import { currentCorrelationId } from '../observability/correlation.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { auditControl } from './audit-control.js';
import { demandControl } from './demand-control.js';
import { isOver } from './domain/task.js';
import { TaskNotFound } from './domain/tasks.errors.js';
import { lockTask } from './store/lock-tasks.js';
import { TaskWriter } from './task-writer.js';

/**
 * Asks a task to end. The request is durable before the answer. The executor learns of it, and the reaper ends the task after the
 * grace period.
 */
@Injectable()
export class CancelTask {
  constructor(
    private readonly database: Database,
    private readonly writer: TaskWriter,
    private readonly executor: TaskExecutor,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
    private readonly metrics: MetricsSink,
  ) {}

  /** @throws TaskNotFound when there is no such task that the caller may control */
  execute(auth: AuthContext, taskId: string, reason = 'cancelled_by_user'): Promise<Cancellation> {
    return this.observer.command('cancel_task', { principalId: auth.subject, taskId }, async (note) => {
      const identity = await demandControl(this.database, this.ownership, auth, taskId);
      const [written] = await this.writer.write(
        (tx) => lockTask(tx, taskId),
        () => ({ kind: 'request_cancellation', reason }),
        { principalId: auth.subject, correlationId: currentCorrelationId(), fromOutside: true },
        async (tx, [change]) => {
          if (change && !isOver(change.record.task.status)) await auditControl(tx, auth, 'cancel_task', identity);
        },
      );
      if (!written) throw new TaskNotFound();
      const status = isOver(written.record.task.status) ? 'ALREADY_TERMINAL' : 'CANCELLATION_REQUESTED';
      const stored = written.events.at(-1);
      note({ outcome: status, ...(stored && { eventId: String(stored.eventId) }) });
      if (status === 'CANCELLATION_REQUESTED') {
        this.metrics.increment('cancels_total');
        this.executor.cancelled({ taskId, workerId: written.record.workerId });
      }
      return { taskId, status };
    });
  }
}
