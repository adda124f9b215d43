import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Whether the files of tasks can be reached. `checkHealth` rejects when they cannot. */
export class AttachmentsReadinessProbe extends ReadinessProbe {
  constructor(private readonly store: { checkHealth(): Promise<unknown> }) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('attachments', () => this.store.checkHealth());
  }
}
