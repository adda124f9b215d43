import { Injectable } from '@nestjs/common';
import type { TaskTypeState } from '#protocol/snapshots.js';
import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import type { Queryable } from '../database/queryable.js';
import { currentCorrelationId } from '../observability/correlation.js';
import { Observer } from '../observability/observer.js';
import { TaskExecutor } from './ports/task-executor.js';
import { ReadType } from './read-type.js';
import { insertAuditEntry } from './store/audit.js';
import { pauseType, resumeType } from './store/pauses.js';

/** An operator keeps the waiting tasks of a type from being claimed. What runs goes on. From the commit on no claim takes one, anywhere. */
@Injectable()
export class PauseType {
  constructor(
    private readonly database: Database,
    private readonly readType: ReadType,
    private readonly executor: TaskExecutor,
    private readonly observer: Observer,
  ) {}

  /** A type that is paused stays as it is. */
  pause(auth: AuthContext, taskType: string, reason: string | null): Promise<TaskTypeState> {
    const change = (tx: Queryable) => pauseType(tx, taskType, auth.subject, reason);
    return this.change('pause_task_type', auth, taskType, change, reason === null ? {} : { reason });
  }

  async resume(auth: AuthContext, taskType: string): Promise<TaskTypeState> {
    const state = await this.change('resume_task_type', auth, taskType, (tx) => resumeType(tx, taskType));
    this.executor.claimable(taskType);
    return state;
  }

  private change(
    action: 'pause_task_type' | 'resume_task_type',
    auth: AuthContext,
    taskType: string,
    change: (tx: Queryable) => Promise<boolean>,
    details: Readonly<Record<string, unknown>> = {},
  ): Promise<TaskTypeState> {
    return this.observer.command(action, { principalId: auth.subject }, async (note) => {
      const { tenantId } = ownerOf(auth);
      const isChanged = await this.database.transaction(async (tx) => {
        if (!(await change(tx))) return false;
        const correlationId = currentCorrelationId();
        await insertAuditEntry(tx, {
          principalId: auth.subject,
          tenantId,
          action,
          subject: taskType,
          details,
          correlationId,
        });
        return true;
      });
      note({ outcome: isChanged ? 'changed' : 'unchanged' });
      return this.readType.state(taskType);
    });
  }
}
