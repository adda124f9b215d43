import type { AttachmentStore } from '../uploads/attachment-store.js';
import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Ready when the attachment store answers. */
export class AttachmentsReadinessProbe extends ReadinessProbe {
  constructor(private readonly store: Pick<AttachmentStore, 'checkHealth'>) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('attachments', () => this.store.checkHealth());
  }
}
