import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { owns, readsAll } from '../ownership/owner-policy.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { demandTask } from './demand-task.js';
import { TaskNotFound } from './domain/tasks.errors.js';
import { TaskPolicies } from './task-policies.js';
import { readTaskView, type TaskView } from './store/read-task-view.js';
import { withWaitingFor } from './waiting-for.js';

/** One task as it is now. */
@Injectable()
export class ReadTask {
  constructor(
    private readonly database: Database,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
    private readonly policies: TaskPolicies,
  ) {}

  /** @throws TaskNotFound when there is no such task that the caller may read */
  execute(auth: AuthContext, taskId: string): Promise<TaskView> {
    return this.observer.query('read_task', { principalId: auth.subject, taskId }, async () => {
      await demandTask(this.database, this.ownership, 'mayRead', auth, taskId);
      const view = await readTaskView(this.database, taskId, this.policies.maxAttemptsOf);
      if (!view) throw new TaskNotFound();
      const [shown = view] = await withWaitingFor(this.database, this.policies, [view]);
      return readsAll(auth) && !owns(auth, view.identity) ? { ...shown, showsOwner: true } : shown;
    });
  }
}
