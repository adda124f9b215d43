import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Whether work can be handed out; not whether a worker is there to take it. `checkHealth` rejects when it cannot. */
export class ExecutorReadinessProbe extends ReadinessProbe {
  constructor(private readonly executor: { checkHealth(): Promise<unknown> }) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('executor', () => this.executor.checkHealth());
  }
}
