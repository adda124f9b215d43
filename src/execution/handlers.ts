import { Inject, Injectable, Optional } from '@nestjs/common';
import type { TaskHandler, TaskHandlers } from '#handler/task-handler.js';
import { DEMO_HANDLERS } from './demo-handlers.js';
import { ExecutionConfig } from './execution.config.js';

/** The token under which a host module provides its `TaskHandlers`. */
export const TASK_HANDLERS = Symbol.for('taskbridge:TASK_HANDLERS');

/** The one list of what this process executes: the demo, and what the host module brings. */
@Injectable()
export class Handlers {
  readonly #handlers: ReadonlyMap<string, TaskHandler>;

  constructor(config: ExecutionConfig, @Optional() @Inject(TASK_HANDLERS) hosted: TaskHandlers = {}) {
    const all = { ...(config.demoTasks ? DEMO_HANDLERS : {}), ...hosted };
    this.#handlers = new Map(config.executors.includes('inline') ? Object.entries(all) : []);
  }

  get taskTypes(): readonly string[] {
    return [...this.#handlers.keys()];
  }

  has(taskType: string): boolean {
    return this.#handlers.has(taskType);
  }

  of(taskType: string): TaskHandler {
    const handler = this.#handlers.get(taskType);
    if (!handler) throw new Error(`claimed a task of type ${taskType} without a handler for it`);
    return handler;
  }
}
