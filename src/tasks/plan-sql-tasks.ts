import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { planOf, textOf } from './plan-of.js';
import { planTasks, readUnplanned } from './store/unplanned-tasks.js';
import { TaskPolicies } from './task-policies.js';

/** Tasks that are planned in one statement. Each may have a mebibyte of input. */
const AT_A_TIME = 50;

/**
 * Gives tasks from SQL what a create over HTTP gives: the keys and the deadlines of their type's policy. The database cannot: a key is
 * a value in the form of this service. A task without its plan has no place in the queue.
 */
@Injectable()
export class PlanSqlTasks {
  constructor(
    private readonly database: Database,
    private readonly policies: TaskPolicies,
  ) {}

  /** @throws DatabaseUnavailable */
  async execute(): Promise<void> {
    // Another replica may be at the same tasks: then this one has nothing to do.
    while ((await this.planSome()) === AT_A_TIME);
  }

  /** @returns how many got their plan */
  private async planSome(): Promise<number> {
    const tasks = await readUnplanned(this.database, AT_A_TIME);
    if (tasks.length === 0) return 0;
    await this.policies.load();
    const plans = tasks.map(async ({ taskId, taskType, inputJson, metadataJson }) => {
      const content = { ...textOf('input', inputJson), ...textOf('metadata', metadataJson) };
      return { taskId, plan: (await planOf({}, this.policies.of(taskType), content)) ?? {} };
    });
    return planTasks(this.database, await Promise.all(plans));
  }
}
