/**
 * Brings tasks to execution. The service calls it after the commit, as a hint. A task without a hint is still found, because the
 * queue is in PostgreSQL.
 */
export abstract class TaskExecutor {
  /** The types with a known executor, for the error message of an unknown type. */
  abstract readonly taskTypes: readonly string[];
  abstract accepts(taskType: string): boolean;

  abstract submitted(task: { readonly taskId: string; readonly taskType: string }): void;
  /** `workerId`: the holder of its lease; null without one. */
  abstract cancelled(task: { readonly taskId: string; readonly workerId: string | null }): void;
  /** Tasks of this type may be claimable again. */
  abstract claimable(taskType: string): void;
  abstract resumed(task: { readonly taskId: string; readonly taskType: string }): void;

  /**
   * Resolves when the service can hand out work, that is when the claim path answers. It says nothing about workers. Rejects
   * otherwise.
   */
  abstract checkHealth(): Promise<void>;
}
