import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { TaskNotFound } from './domain/tasks.errors.js';
import { readTaskView, type TaskView } from './store/read-task.js';
import { isTaskId } from './task-id.js';

/** One task as it is now. */
@Injectable()
export class ReadTask {
  constructor(
    private readonly database: Database,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
  ) {}

  /** @throws TaskNotFound when there is no such task that the caller may read */
  execute(auth: AuthContext, taskId: string): Promise<TaskView> {
    return this.observer.query('read_task', { principalId: auth.subject, taskId }, async () => {
      const view = isTaskId(taskId) ? await readTaskView(this.database, taskId) : undefined;
      if (!view || !(await this.ownership.mayRead(auth, view.identity))) throw new TaskNotFound();
      return view;
    });
  }
}
