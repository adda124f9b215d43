import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { Log } from '../observability/log.js';
import { AttachmentStore } from './attachment-store.js';
import { abandonStaleUploads, abandonUploads, forgetUploads } from './upload-ledger.js';

/** Removes the bytes that no task has. PostgreSQL decides which those are, so it is safe to ask after any outcome. */
@Injectable()
export class DiscardUploads {
  constructor(
    private readonly database: Database,
    private readonly store: AttachmentStore,
    private readonly log: Log,
  ) {}

  /** Of these files, those that became no task's. What cannot be removed now is left to the sweeper. */
  async execute(attachmentIds: readonly string[]): Promise<void> {
    if (attachmentIds.length === 0) return;
    try {
      await this.remove(await abandonUploads(this.database, attachmentIds));
    } catch (error) {
      this.log.warn({ err: error }, 'discard_uploads.postponed');
    }
  }

  /** @returns how many were found; as many as asked for means that there may be more */
  async stale(limit: number): Promise<number> {
    const found = await abandonStaleUploads(this.database, limit);
    await this.remove(found);
    return found.length;
  }

  /** One that fails keeps its note, and stops none of the others. */
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
