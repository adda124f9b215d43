import type { FailureCode } from '#protocol/errors.js';
import type { TaskPolicy } from '#protocol/policies.js';
import { checked, type Issue, type StandardSchema } from './standard-schema.js';
import { type JsonObject, TaskFailure, type TaskContext, type TaskHandler } from './task-handler.js';

/** A handler, and what applies to all tasks of its type. */
export interface TaskDefinition<Input = JsonObject, Result = unknown> extends TaskPolicy {
  /**
   * A Standard Schema, as of Zod. The service refuses a create with another input, where the handler runs in it. The handler gets what the
   * schema makes of the input.
   */
  readonly input?: StandardSchema<Input>;
  /** A Standard Schema of what the handler returns. Another result fails the task. */
  readonly result?: StandardSchema<Result>;
  readonly run: (input: Input, context: TaskContext) => Result | Promise<Result>;
}

const DEFINITION: unique symbol = Symbol.for('taskbridge:definition');

/** What is known of a handler beside its code. */
export interface Definition {
  readonly policy: TaskPolicy;
  readonly input?: StandardSchema;
}

/** A handler with a policy, for `TaskHandlers`. What operators set in TASK_TYPES_FILE comes before it. */
export function defineTask<Input = JsonObject, Result = unknown>({
  run,
  input: inputs,
  result: results,
  ...policy
}: TaskDefinition<Input, Result>): TaskHandler {
  const handler: TaskHandler = async (sent, context) => {
    const input = inputs ? await valid('INPUT_INVALID', inputs, sent) : (sent as Input);
    const result = await run(input, context);
    return results ? valid('RESULT_INVALID', results, result) : result;
  };
  return Object.assign(handler, { [DEFINITION]: { policy, ...(inputs && { input: inputs }) } satisfies Definition });
}

/** Undefined for a handler that was not made by `defineTask`. */
export function definitionOf(handler: TaskHandler): Definition | undefined {
  return (handler as { readonly [DEFINITION]?: Definition })[DEFINITION];
}

/** The handler, with what is known of the other one that it calls. */
export function definedAs(other: TaskHandler, handler: TaskHandler): TaskHandler {
  const definition = definitionOf(other);
  return definition ? Object.assign(handler, { [DEFINITION]: definition }) : handler;
}

/** @throws TaskFailure that no further attempt would change */
async function valid<Output>(code: FailureCode, schema: StandardSchema<Output>, value: unknown): Promise<Output> {
  const result = await checked(schema, value);
  if ('value' in result) return result.value;
  throw new TaskFailure(code, result.issues.map(told).join('; '));
}

function told({ path, message }: Issue): string {
  return path === '' ? message : `${path}: ${message}`;
}
