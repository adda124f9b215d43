import { Injectable } from '@nestjs/common';
import type { TaskTypeState } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { readPause } from './store/pauses.js';
import { readPolicy } from './store/type-policies.js';

/** What applies to a task type, for operators: its policy, where each member comes from, and whether it is paused. */
@Injectable()
export class ReadType {
  constructor(
    private readonly database: Database,
    private readonly observer: Observer,
  ) {}

  execute(auth: AuthContext, taskType: string): Promise<TaskTypeState> {
    return this.observer.query('read_task_type', { principalId: auth.subject }, () => this.state(taskType));
  }

  async state(taskType: string): Promise<TaskTypeState> {
    const { policy, from } = await readPolicy(this.database, taskType);
    const pause = await readPause(this.database, taskType);
    const { reason, ...paused } = pause ?? { reason: null, since: '', by: '' };
    return { taskType, policy, from, ...(pause && { paused: { ...paused, ...(reason !== null && { reason }) } }) };
  }
}
