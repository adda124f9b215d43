import { Inject, Injectable, Optional } from '@nestjs/common';
import { definitionOf } from '#handler/define-task.js';
import { checked, type StandardSchema } from '#handler/standard-schema.js';
import type { TaskHandler, TaskHandlers } from '#handler/task-handler.js';
import type { TaskPolicy } from '#protocol/policies.js';
import { within } from '../deadline.js';
import { asHostCode } from '../observability/host-code.js';
import type { HandlerPolicies, Issue } from '../tasks/ports/handler-policies.js';
import { policyFrom } from '../tasks/policies/policy-from.js';
import { DEMO_HANDLERS } from './demo-handlers.js';
import { ExecutionConfig } from './execution.config.js';

/** The token under which a host module provides its `TaskHandlers`. */
export const TASK_HANDLERS = Symbol.for('taskbridge:TASK_HANDLERS');

/** The time of one check. */
const PATIENCE_MS = 2_000;

/** The one list of what this process executes: the demo, and what the host module brings. */
@Injectable()
export class Handlers implements HandlerPolicies {
  readonly policies: ReadonlyMap<string, TaskPolicy>;
  readonly #handlers: ReadonlyMap<string, TaskHandler>;

  constructor(config: ExecutionConfig, @Optional() @Inject(TASK_HANDLERS) hosted: TaskHandlers = {}) {
    const all = { ...(config.demoTasks ? DEMO_HANDLERS : {}), ...hosted };
    this.#handlers = new Map(config.executors.includes('inline') ? Object.entries(all) : []);
    this.policies = new Map([...this.#handlers].map(([taskType, handler]) => [taskType, policyOf(taskType, handler)]));
  }

  checksInput(taskType: string): boolean {
    return this.inputSchemaOf(taskType) !== undefined;
  }

  async issuesIn(taskType: string, input: unknown): Promise<readonly Issue[]> {
    const schema = this.inputSchemaOf(taskType);
    if (!schema) return [];
    const checking = asHostCode({ port: 'TASK_HANDLERS', method: 'validate' }, () => checked(schema, input));
    // Code of an author that throws or hangs costs the request that it was asked for.
    const result = await within(PATIENCE_MS, checking).catch(() => undefined);
    if (result === undefined) return [{ path: '', message: 'cannot be checked by the schema of its handler' }];
    return 'issues' in result ? result.issues : [];
  }

  private inputSchemaOf(taskType: string): StandardSchema | undefined {
    const handler = this.#handlers.get(taskType);
    return handler && definitionOf(handler)?.input;
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

/** @throws Error where the author of the handler has written a policy that is none */
function policyOf(taskType: string, handler: TaskHandler): TaskPolicy {
  const read = policyFrom(definitionOf(handler)?.policy ?? {});
  if ('policy' in read) return read.policy;
  const [first] = read.errors;
  throw new Error(`the policy of the task type ${taskType}: ${first?.path} ${first?.message}`);
}
