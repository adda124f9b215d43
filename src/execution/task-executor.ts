/**
 * Whoever sees to it that tasks are executed. It is told after the commit, as a hint: a task it was not told of is found all the
 * same, because the queue is in PostgreSQL.
 */
export abstract class TaskExecutor {
  /** The types that somebody is known to execute, for the error message of an unknown one. */
  abstract readonly taskTypes: readonly string[];
  abstract accepts(taskType: string): boolean;

  abstract submitted(task: { readonly taskId: string; readonly taskType: string }): void;
  abstract cancelled(task: { readonly taskId: string }): void;
  abstract resumed(task: { readonly taskId: string; readonly taskType: string }): void;

  /** Whether work can be handed out: the claim path answers. Not that a worker is there. Rejects when it cannot. */
  abstract checkHealth(): Promise<void>;
}
