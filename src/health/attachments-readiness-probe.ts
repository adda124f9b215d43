import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Ready when the attachment store answers. `checkHealth` rejects when it does not. */
export class AttachmentsReadinessProbe extends ReadinessProbe {
  constructor(private readonly store: { checkHealth(): Promise<unknown> }) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('attachments', () => this.store.checkHealth());
  }
}
