import type { AuthContext } from '../auth/auth-context.js';

/** The facts of a task that a policy gets: its owner. */
export interface OwnedTask {
  readonly taskId: string;
  readonly ownerId: string;
  /** Empty when the proxy named no tenant. */
  readonly tenantId: string;
  readonly taskType: string;
}

/**
 * Decides who may create, read and control tasks. Every route, frame and stream asks it. A task that the caller may not read does
 * not exist for it.
 */
export abstract class OwnershipPolicy {
  abstract mayCreate(auth: AuthContext, task: { readonly taskType: string }): boolean | Promise<boolean>;
  abstract mayRead(auth: AuthContext, task: OwnedTask): boolean | Promise<boolean>;
  /** Cancel it, answer its questions. */
  abstract mayControl(auth: AuthContext, task: OwnedTask): boolean | Promise<boolean>;
}
