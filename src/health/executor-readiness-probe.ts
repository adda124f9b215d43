import type { TaskExecutor } from '../execution/task-executor.js';
import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Whether work can be handed out; not whether a worker is there to take it. */
export class ExecutorReadinessProbe extends ReadinessProbe {
  constructor(private readonly executor: Pick<TaskExecutor, 'checkHealth'>) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('executor', () => this.executor.checkHealth());
  }
}
