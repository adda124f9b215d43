import type { Readable } from 'node:stream';
import { Injectable } from '@nestjs/common';
import type { Attachment } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { AttachmentStore, type ByteRange } from '../uploads/attachment-store.js';
import { demandTask } from './demand-task.js';
import { AttachmentNotFound, LeaseLost } from './domain/tasks.errors.js';
import { findAttachment } from './store/attachments.js';
import { checkLeases } from './store/renew-leases.js';
import { isTaskId } from './domain/task-id.js';

export interface OpenableAttachment {
  readonly attachment: Attachment;
  /** The bytes, or a part of them. The caller reads the stream to its end or destroys it. */
  open(range?: ByteRange): Promise<Readable>;
}

/** One file of a task, for callers that may read the task. */
@Injectable()
export class ReadAttachment {
  constructor(
    private readonly database: Database,
    private readonly ownership: OwnershipPolicy,
    private readonly store: AttachmentStore,
    private readonly observer: Observer,
  ) {}

  /**
   * @throws TaskNotFound when there is no such task that the caller may read
   * @throws AttachmentNotFound when there is, and it has no such file
   */
  execute(auth: AuthContext, taskId: string, attachmentId: string): Promise<OpenableAttachment> {
    return this.observer.query('read_attachment', { principalId: auth.subject, taskId }, async () => {
      await demandTask(this.database, this.ownership, 'mayRead', auth, taskId);
      return this.find(taskId, attachmentId);
    });
  }

  /**
   * For the worker that runs the task: the token alone proves the lease.
   * @throws LeaseLost when it is not, or no longer, the lease's
   * @throws AttachmentNotFound
   */
  executeForLease(leaseToken: string, taskId: string, attachmentId: string): Promise<OpenableAttachment> {
    return this.observer.query('read_attachment', { principalId: 'worker', taskId }, async () => {
      const held = isTaskId(taskId) ? await checkLeases(this.database, [{ taskId, leaseToken }]) : [];
      if (held.length === 0) throw new LeaseLost();
      return this.find(taskId, attachmentId);
    });
  }

  private async find(taskId: string, attachmentId: string): Promise<OpenableAttachment> {
    // Both are UUIDs of ours.
    const attachment = isTaskId(attachmentId) ? await findAttachment(this.database, taskId, attachmentId) : undefined;
    if (!attachment) throw new AttachmentNotFound();
    return { attachment, open: (range) => this.store.open(attachment.attachmentId, range) };
  }
}
