import type { AuthContext } from '../auth/auth-context.js';

/** What a policy may know of a task: whose it is. */
export interface OwnedTask {
  readonly taskId: string;
  readonly ownerId: string;
  /** Empty when the proxy named no tenant. */
  readonly tenantId: string;
  readonly taskType: string;
}

/**
 * Who may create, read and control tasks; asked by every route, frame and stream. A task that may not be read does not exist for
 * the caller.
 */
export abstract class OwnershipPolicy {
  abstract mayCreate(auth: AuthContext, task: { readonly taskType: string }): boolean | Promise<boolean>;
  abstract mayRead(auth: AuthContext, task: OwnedTask): boolean | Promise<boolean>;
  /** Cancel it, answer its questions. */
  abstract mayControl(auth: AuthContext, task: OwnedTask): boolean | Promise<boolean>;
}
