import type { AttachmentStore } from '../uploads/attachment-store.js';
import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Whether the files of tasks can be reached. */
export class AttachmentsReadinessProbe extends ReadinessProbe {
  constructor(private readonly store: Pick<AttachmentStore, 'checkHealth'>) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('attachments', () => this.store.checkHealth());
  }
}
