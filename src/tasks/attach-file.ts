import type { Readable } from 'node:stream';
import { Injectable } from '@nestjs/common';
import type { Attachment, AttachReceipt } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database, type Transaction } from '../database/database.js';
import type { Queryable } from '../database/queryable.js';
import { PayloadTooLarge, UnsupportedMediaType } from '../errors.js';
import { Observer } from '../observability/observer.js';
import { AttachmentStore } from '../uploads/attachment-store.js';
import { DiscardUploads } from '../uploads/discard-uploads.js';
import { normalisedFilename } from '../uploads/filename.js';
import { NoAttachmentStore } from '../uploads/no-attachment-store.js';
import { lockOwners, ownedBytes } from '../uploads/owned-bytes.js';
import { budgetOf, StoreFile } from '../uploads/store-file.js';
import { settleUploads } from '../uploads/upload-ledger.js';
import { type UploadAllowance, UploadPolicy } from '../uploads/upload-policy.js';
import { UploadForbidden, UploadInvalid } from '../uploads/uploads.errors.js';
import { LeaseLost, TaskAside } from './domain/tasks.errors.js';
import { attachedFiles, attachFile, removeAttachedFile } from './store/attachments.js';
import { readTaskHead } from './store/read-task-view.js';
import { type HeldLease, type HeldTask, heldTask, touchHeldTask } from './store/renew-leases.js';
import { TasksConfig } from './tasks.config.js';

export interface FileToAttach {
  /** A plain base name. The task has one file of its executor under a name. */
  readonly filename: string;
  /** Undefined: what the bytes and the name say. */
  readonly mediaType: string | undefined;
  /** As announced; undefined where it is not known. */
  readonly sizeBytes?: number;
  /** Called when the lease and the limits allow a file. */
  open(): Readable;
}

/**
 * A file of the executor. The lease is checked before the bytes are taken, and again in the transaction that makes the row. A name
 * is written like in a folder: the same bytes again are the same file, and other bytes replace it.
 */
@Injectable()
export class AttachFile {
  constructor(
    private readonly policy: UploadPolicy,
    private readonly store: AttachmentStore,
    private readonly storeFile: StoreFile,
    private readonly discard: DiscardUploads,
    private readonly database: Database,
    private readonly config: TasksConfig,
    private readonly observer: Observer,
  ) {}

  /**
   * `principalId` is absent for the worker that holds the lease.
   * @throws LeaseLost when the lease has expired or is over, before or after the bytes; TaskAside
   * @throws UploadInvalid, UploadForbidden, PayloadTooLarge, UnsupportedMediaType
   * @throws AttachmentStoreUnavailable, DatabaseUnavailable when it may be tried again
   */
  execute(held: HeldLease, file: FileToAttach, principalId = 'worker'): Promise<AttachReceipt> {
    return this.observer.command('attach_file', { principalId, taskId: held.taskId }, async (note) => {
      const filename = file.filename.normalize('NFC');
      if (normalisedFilename(filename) !== filename)
        throw new UploadInvalid('The name of a file must be a plain base name.');
      if (this.store instanceof NoAttachmentStore) throw new UnsupportedMediaType('Files cannot be attached here');
      const task = await heldTask(this.database, held);
      if (!task) throw await notHeld(this.database, held);
      const owner = ownerAuth(task);
      const allowance = await this.policy.admit(owner);
      const budget = budgetOf(allowance);
      budget(0, file.sizeBytes ?? 0);
      const attachmentId = this.storeFile.newId();
      try {
        const claim = { filename, mimeType: file.mediaType };
        const stored = await this.storeFile.execute(attachmentId, claim, file.open(), budget);
        await this.policy.check(owner, [stored]);
        const receipt = await this.database.transaction((tx) => this.commit(tx, held, task, stored, allowance));
        note({ outcome: receipt.attachmentId === attachmentId ? 'stored' : 'deduplicated' });
        return receipt;
      } finally {
        await this.discard.execute([attachmentId]);
      }
    });
  }

  /** The owner's lock comes before that of the task, as in a create. */
  private async commit(
    tx: Transaction,
    held: HeldLease,
    task: HeldTask,
    { attachmentId, filename, contentType, sizeBytes, sha256 }: Attachment,
    { maxFiles, maxTotalBytes, maxOwnedBytes }: UploadAllowance,
  ): Promise<AttachReceipt> {
    await lockOwners(tx, [task]);
    const sign = await touchHeldTask(tx, held, this.config.leaseSeconds);
    if (!sign) throw await notHeld(tx, held);
    const attached = await attachedFiles(tx, held.taskId);
    const earlier = attached.find((one) => one.filename === filename);
    if (earlier?.sha256 === sha256 && earlier.contentType === contentType) return { ...earlier, ...sign };
    if (earlier) await removeAttachedFile(tx, held.taskId, earlier.attachmentId);
    const others = attached.filter((one) => one !== earlier);
    if (others.length >= maxFiles) throw new UploadInvalid(`At most ${maxFiles} files may be attached.`);
    if (others.reduce((sum, one) => sum + one.sizeBytes, sizeBytes) > maxTotalBytes) {
      throw new PayloadTooLarge(maxTotalBytes, 'The files are too large together');
    }
    if (maxOwnedBytes !== undefined && (await ownedBytes(tx, task)) + sizeBytes > maxOwnedBytes) {
      throw new UploadForbidden('The quota of attached bytes would be exceeded.');
    }
    const file = { attachmentId, filename, contentType, sizeBytes, sha256 };
    await attachFile(tx, { ...task, taskId: held.taskId }, file);
    if (!(await settleUploads(tx, [attachmentId]))) {
      throw new UploadInvalid('The upload took too long, and its file was removed.');
    }
    return { ...file, source: 'worker', ...sign };
  }
}

async function notHeld(db: Queryable, { taskId }: HeldLease): Promise<LeaseLost | TaskAside> {
  const head = await readTaskHead(db, taskId);
  return head && head.asideCode !== null ? new TaskAside() : new LeaseLost();
}

/** A worker has no principal of its own. Its files are those of the task's owner, and count towards the owner's quota. */
function ownerAuth({ tenantId, ownerId }: HeldTask): AuthContext {
  return {
    subject: ownerId,
    scopes: new Set(['tasks:upload']),
    ...(tenantId !== '' && { tenantId }),
    attributes: {},
  };
}
