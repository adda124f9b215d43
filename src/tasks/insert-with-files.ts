import type { Transaction } from '../database/database.js';
import { lockOwners, ownedBytes } from '../uploads/owned-bytes.js';
import { settleUploads } from '../uploads/upload-ledger.js';
import type { UploadedFile } from '../uploads/uploaded-file.js';
import { UploadForbidden, UploadInvalid } from '../uploads/uploads.errors.js';
import { insertAttachments } from './store/attachments.js';
import type { InsertOutcome } from './store/first-attempts.js';
import { insertOne } from './store/insert-planned-tasks.js';
import type { NewTaskRow } from './store/insert-task.js';

export interface Brought {
  readonly files: readonly UploadedFile[];
  /** Absent: no limit. */
  readonly maxOwnedBytes?: number | undefined;
}

/**
 * Inserts the task and its files, and settles the files. For one owner these transactions run one after the other, so its counts
 * of open tasks and attached bytes are exact. The lock comes first: behind the task's unique key it could cause a deadlock. When
 * the task is passed over, nothing is stored.
 */
export async function insertWithFiles(
  tx: Transaction,
  task: NewTaskRow,
  maxOpenTasks: number | null,
  { files, maxOwnedBytes }: Brought,
): Promise<InsertOutcome> {
  await lockOwners(tx, [task]);
  const inserted = await insertOne(tx, task, maxOpenTasks);
  if (inserted.outcome === 'passed_over') return inserted;
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  if (maxOwnedBytes !== undefined && (await ownedBytes(tx, task)) + sizeBytes > maxOwnedBytes) {
    throw new UploadForbidden('The quota of attached bytes would be exceeded.');
  }
  await insertAttachments(tx, { ...task, taskId: inserted.taskId }, files);
  const settled = await settleUploads(
    tx,
    files.map(({ attachmentId }) => attachmentId),
  );
  if (!settled) throw new UploadInvalid('The upload took too long, and its files were removed.');
  return inserted;
}
