import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import type { ErasedTasks } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { ownerOf } from '../auth/auth-context.js';
import { demandScope } from '../auth/authentication.guard.js';
import { Database } from '../database/database.js';
import { currentCorrelationId } from '../observability/correlation.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Observer } from '../observability/observer.js';
import { controlsAll, owns } from '../ownership/owner-policy.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { demandTask } from './demand-task.js';
import { isOver } from './domain/task.js';
import { TaskNotFound, TaskNotTerminal } from './domain/tasks.errors.js';
import { hintChange, LiveLog } from './ports/live-log.js';
import { TaskExecutor } from './ports/task-executor.js';
import { type Eraser, eraseTasks, findErasable } from './store/erasable-tasks.js';
import { lockTask } from './store/lock-tasks.js';
import { TaskWriter } from './task-writer.js';

/** Tasks with up to as many events as a task may have are erased in one transaction. */
const AT_A_TIME = 20;
/** A caller that has more to erase calls again. */
const PATIENCE_MS = 5_000;
/** Readers that are on their way get the end of a task before it is gone. */
const READERS_MS = 1_000;

/**
 * Removes tasks on request. A task that is not over ends first, as cancelled: so its worker is fenced, and its streams end with the
 * terminal event.
 */
@Injectable()
export class EraseTasks {
  constructor(
    private readonly database: Database,
    private readonly writer: TaskWriter,
    private readonly executor: TaskExecutor,
    private readonly liveLog: LiveLog,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
    private readonly metrics: MetricsSink,
  ) {}

  /**
   * @throws TaskNotFound when there is no such task that the caller may control
   * @throws AccessDenied for the task of another principal without `tasks:operate`
   * @throws TaskNotTerminal for the owner of a task that is not over
   * @throws TaskAside
   */
  one(auth: AuthContext, taskId: string): Promise<void> {
    return this.observer.command('erase_task', { principalId: auth.subject, taskId }, async () => {
      const { identity, status } = await demandTask(this.database, this.ownership, 'mayControl', auth, taskId);
      if (!controlsAll(auth)) demandScope(auth, owns(auth, identity) ? 'tasks:write' : 'tasks:operate');
      if (!isOver(status)) {
        if (!controlsAll(auth)) throw new TaskNotTerminal();
        await this.end(auth, taskId);
        await delay(READERS_MS);
      }
      const gone = await eraseTasks(this.database, [taskId], eraserOf(auth, 'erase_task'));
      if (gone.length === 0) throw new TaskNotFound();
      this.metrics.increment('tasks_erased_total');
      hintChange(this.liveLog, identity);
    });
  }

  /**
   * Those of an owner that are over; with `tasks:operate` all but those that were set aside.
   * @throws AccessDenied for another owner without `tasks:operate`
   */
  ofOwner(auth: AuthContext, owner: { readonly tenantId: string; readonly ownerId: string }): Promise<ErasedTasks> {
    return this.observer.command('erase_owner_tasks', { principalId: auth.subject }, async () => {
      const own = ownerOf(auth);
      const isOwn = own.ownerId === owner.ownerId && own.tenantId === owner.tenantId;
      if (!controlsAll(auth)) demandScope(auth, isOwn ? 'tasks:write' : 'tasks:operate');
      const eraser = eraserOf(auth, 'erase_owner_tasks');
      const until = performance.now() + PATIENCE_MS;
      let erased = 0;
      for (;;) {
        const found = await findErasable(this.database, owner, { andOpen: controlsAll(auth), limit: AT_A_TIME });
        const open = found.filter((task) => !task.isOver);
        for (const { taskId } of open) await this.end(auth, taskId);
        if (open.length > 0) await delay(READERS_MS);
        const gone = await eraseTasks(
          this.database,
          found.map(({ taskId }) => taskId),
          eraser,
        );
        erased += gone.length;
        gone.forEach(() => this.metrics.increment('tasks_erased_total'));
        if (gone.length > 0) hintChange(this.liveLog, owner);
        if (found.length < AT_A_TIME || gone.length === 0) return { erased, hasMore: gone.length < found.length };
        if (performance.now() > until) return { erased, hasMore: true };
      }
    });
  }

  private async end(auth: AuthContext, taskId: string): Promise<void> {
    const actor = { principalId: auth.subject, correlationId: currentCorrelationId(), fromOutside: true };
    const lock = (tx: Parameters<typeof lockTask>[0]) => lockTask(tx, taskId);
    const [asked] = await this.writer.write(lock, () => ({ kind: 'request_cancellation', reason: 'erased' }), actor);
    await this.writer.write(lock, () => ({ kind: 'force_cancellation' }), actor);
    if (asked) this.executor.cancelled({ taskId, workerId: asked.record.workerId });
  }
}

function eraserOf(auth: AuthContext, action: Eraser['action']): Eraser {
  const { subject, tenantId = '' } = auth;
  return { principalId: subject, tenantId, action, correlationId: currentCorrelationId() };
}
