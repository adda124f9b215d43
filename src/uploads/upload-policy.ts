import type { AuthContext } from '../auth/auth-context.js';
import type { UploadedFile } from './uploaded-file.js';

/** The limits of one create. */
export interface UploadAllowance {
  readonly maxFiles: number;
  readonly maxFileBytes: number;
  readonly maxTotalBytes: number;
  /**
   * The most bytes attached to all tasks of the owner together, this one included. PostgreSQL checks it in the transaction that
   * makes the task, so parallel creates cannot exceed it together. Defaults to no limit.
   */
  readonly maxOwnedBytes?: number;
}

/** Decides whether this actor may attach files, how many bytes, and of which types. OwnershipPolicy decides about the task. */
export abstract class UploadPolicy {
  /**
   * Asked before the first byte is read, also for a multipart create that has no files.
   * @throws UploadForbidden
   */
  abstract admit(auth: AuthContext): UploadAllowance | Promise<UploadAllowance>;

  /**
   * Asked when all files are stored and there is no task yet, with the sizes as counted and the types as sniffed.
   * @throws UploadForbidden, or another TaskBridgeError with the reason; then no file is kept
   */
  abstract check(auth: AuthContext, files: readonly UploadedFile[]): void | Promise<void>;
}
