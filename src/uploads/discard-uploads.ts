import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { Log } from '../observability/log.js';
import { AttachmentStore } from './attachment-store.js';
import { abandonStaleUploads, abandonUploads, forgetUploads } from './upload-ledger.js';

/** Removes bytes without a task. PostgreSQL decides which these are, so this is safe after any outcome. */
@Injectable()
export class DiscardUploads {
  constructor(
    private readonly database: Database,
    private readonly store: AttachmentStore,
    private readonly log: Log,
  ) {}

  /** Removes the files, of these, that no task has taken. The sweeper removes later what fails now. */
  async execute(attachmentIds: readonly string[]): Promise<void> {
    if (attachmentIds.length === 0) return;
    try {
      await this.remove(await abandonUploads(this.database, attachmentIds));
    } catch (error) {
      this.log.warn({ err: error }, 'discard_uploads.postponed');
    }
  }

  /** @returns the number of found files; a full step means that there may be more */
  async stale(limit: number): Promise<number> {
    const found = await abandonStaleUploads(this.database, limit);
    await this.remove(found);
    return found.length;
  }

  /** A file that fails keeps its record, and the others are still removed. */
  private async remove(attachmentIds: readonly string[]): Promise<void> {
    if (attachmentIds.length === 0) return;
    const removals = await Promise.allSettled(attachmentIds.map((id) => this.store.remove(id)));
    await forgetUploads(
      this.database,
      attachmentIds.filter((_, i) => removals[i]?.status === 'fulfilled'),
    );
    const failed = removals.find((removal) => removal.status === 'rejected');
    if (failed) throw failed.reason;
  }
}
