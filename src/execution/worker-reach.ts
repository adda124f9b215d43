import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { isTaskId } from '../tasks/domain/task-id.js';
import { LeaseLost } from '../tasks/domain/tasks.errors.js';
import { readTaskHead } from '../tasks/store/read-task-view.js';
import { covers, isLimited, type WorkerGrant } from './worker-grant.js';

/** The tasks that a worker token may speak of. */
@Injectable()
export class WorkerReach {
  constructor(private readonly database: Database) {}

  /**
   * A task that there is not, and one that the token does not cover, have no lease. So they get the answer of a stale one.
   * @throws LeaseLost
   */
  async demand(grant: WorkerGrant, taskId: string): Promise<void> {
    if (!isTaskId(taskId)) throw new LeaseLost();
    if (!isLimited(grant)) return;
    const head = await readTaskHead(this.database, taskId);
    if (!head || !covers(grant, head.identity)) throw new LeaseLost();
  }
}
