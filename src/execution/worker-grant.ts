import type { TaskIdentity } from '../tasks/domain/task-identity.js';

/** What a worker token grants. */
export interface WorkerGrant {
  readonly token: string;
  /** For logs and rows; unique. Absent for a token of `WORKER_TOKENS`. */
  readonly name?: string;
  /** The task types that it may execute. Absent: all. */
  readonly types?: readonly string[];
  /** The tenants whose tasks it may execute, `""` for tasks without a tenant. Absent: all. */
  readonly tenants?: readonly string[];
}

/** The types, of these, that the token does not cover. */
export function beyond({ types }: WorkerGrant, taskTypes: readonly string[]): readonly string[] {
  return types === undefined ? [] : taskTypes.filter((taskType) => !types.includes(taskType));
}

export function isLimited({ types, tenants }: WorkerGrant): boolean {
  return types !== undefined || tenants !== undefined;
}

export function covers({ types, tenants }: WorkerGrant, task: Pick<TaskIdentity, 'taskType' | 'tenantId'>): boolean {
  return (types?.includes(task.taskType) ?? true) && (tenants?.includes(task.tenantId) ?? true);
}

/** The worker in rows and logs. A worker chooses its id without spaces, so it cannot pass for one of a named token. */
export function workerIdOf({ name }: WorkerGrant, workerId: string): string {
  return name === undefined ? workerId : `${name} ${workerId}`;
}
