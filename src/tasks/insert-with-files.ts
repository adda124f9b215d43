import type { Transaction } from '../database/database.js';
import { lockOwners, ownedBytes } from '../uploads/owned-bytes.js';
import { settleUploads } from '../uploads/upload-ledger.js';
import type { UploadedFile } from '../uploads/uploaded-file.js';
import { UploadForbidden, UploadInvalid } from '../uploads/uploads.errors.js';
import { insertAttachments } from './store/attachments.js';
import { type InsertOutcome, insertTask, type NewTaskRow } from './store/insert-task.js';

export interface Brought {
  readonly files: readonly UploadedFile[];
  /** Absent: no limit. */
  readonly maxOwnedBytes?: number | undefined;
}

/**
 * The task, its files, and that they are no longer nobody's; one after the other for each owner, so that what is counted here is
 * exact: its open tasks, and its attached bytes. The lock comes first: behind the unique key of the task it could wait for somebody
 * who waits for that. Passed over, nothing is stored.
 */
export async function insertWithFiles(
  tx: Transaction,
  task: NewTaskRow,
  maxOpenTasks: number | null,
  { files, maxOwnedBytes }: Brought,
): Promise<InsertOutcome> {
  await lockOwners(tx, [task]);
  const inserted = await insertTask(tx, task, maxOpenTasks);
  if (inserted.outcome === 'passed_over') return inserted;
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
  return inserted;
}
