import type { TaskPolicy } from '#protocol/policies.js';

/** Where a value is wrong. */
export interface Issue {
  /** Like `a.b.0`; empty for the whole. */
  readonly path: string;
  readonly message: string;
}

/** What the authors of the handlers in this process say of their types. */
export abstract class HandlerPolicies {
  /** By type; every type that has a handler here, an empty one where its author says nothing. */
  abstract readonly policies: ReadonlyMap<string, TaskPolicy>;

  /** Where the input is not as the code of the handler says; empty where it is, and for types without such a schema. */
  abstract issuesIn(taskType: string, input: unknown): Promise<readonly Issue[]>;
  abstract checksInput(taskType: string): boolean;
}
