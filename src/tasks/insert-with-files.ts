import type { Transaction } from '../database/database.js';
import { lockOwnedBytes, ownedBytes } from '../uploads/owned-bytes.js';
import { settleUploads } from '../uploads/upload-ledger.js';
import type { UploadedFile } from '../uploads/uploaded-file.js';
import { UploadForbidden, UploadInvalid } from '../uploads/uploads.errors.js';
import { insertAttachments } from './store/attachments.js';
import { insertTask, type NewTaskRow } from './store/insert-task.js';

/**
 * The task, its files, and that they are no longer nobody's. The lock comes first: behind the unique key of the task it could wait
 * for somebody who waits for that.
 * @returns whether the task is new; if not, nothing was stored
 */
export async function insertWithFiles(
  tx: Transaction,
  task: NewTaskRow,
  files: readonly UploadedFile[],
  maxOwnedBytes: number | undefined,
): Promise<boolean> {
  await lockOwnedBytes(tx, task);
  if (!(await insertTask(tx, task))) return false;
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  if (maxOwnedBytes !== undefined && (await ownedBytes(tx, task)) + sizeBytes > maxOwnedBytes) {
    throw new UploadForbidden('The quota of attached bytes would be exceeded.');
  }
  await insertAttachments(tx, task, files);
  const settled = await settleUploads(
    tx,
    files.map(({ attachmentId }) => attachmentId),
  );
  if (!settled) throw new UploadInvalid('The upload took so long that its files were taken for abandoned.');
  return true;
}
