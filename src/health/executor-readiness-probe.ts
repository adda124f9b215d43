import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Ready when the service can hand out work, whether or not a worker is there. `checkHealth` rejects when it cannot. */
export class ExecutorReadinessProbe extends ReadinessProbe {
  constructor(private readonly executor: { checkHealth(): Promise<unknown> }) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('executor', () => this.executor.checkHealth());
  }
}
