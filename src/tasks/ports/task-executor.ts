import type { Lease } from '../domain/lease.js';

/** Places that an executor keeps for new tasks while they are stored. */
export interface Room {
  /** Who holds their leases. */
  readonly worker: { readonly workerId: string; readonly principalId: string };
  /** Whether there is a place for each of the tasks with this type. */
  takes(taskType: string): boolean;
  /** These leases begin, and the other places are free again. Once. */
  fill(leases: readonly Lease[]): void;
}

/**
 * Brings tasks to execution. Except for `roomFor`, the service calls it after the commit, as a hint. A task without a hint is still
 * found, because the queue is in PostgreSQL.
 */
export abstract class TaskExecutor {
  /** The types with a known executor, for the error message of an unknown type. */
  abstract readonly taskTypes: readonly string[];
  abstract accepts(taskType: string): boolean;

  /** Places for all new tasks of these types that this process runs; undefined where there are not enough, or it runs none. */
  abstract roomFor(taskTypes: readonly string[]): Room | undefined;

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
