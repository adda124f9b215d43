import type { AuthContext } from '../auth/auth-context.js';
import type { UploadedFile } from './uploaded-file.js';

/** How much one create may bring along. */
export interface UploadAllowance {
  readonly maxFiles: number;
  readonly maxFileBytes: number;
  readonly maxTotalBytes: number;
  /**
   * Bytes that the owner may have attached to all tasks together, this one included. Judged by PostgreSQL in the transaction that
   * makes the task, so that creates at the same time cannot exceed it together. Defaults to no limit.
   */
  readonly maxOwnedBytes?: number;
}

/** May this actor attach files, how much and of which types. Whether it may create the task is OwnershipPolicy's to say. */
export abstract class UploadPolicy {
  /**
   * Asked before the first byte is read, also of a create that turns out to have no files.
   * @throws UploadForbidden
   */
  abstract admit(auth: AuthContext): UploadAllowance | Promise<UploadAllowance>;

  /**
   * Asked when all files are stored and there is no task yet, with the sizes as counted and the types as sniffed.
   * @throws UploadForbidden, or another TaskBridgeError that says what is wrong; then no file is kept
   */
  abstract check(auth: AuthContext, files: readonly UploadedFile[]): void | Promise<void>;
}
