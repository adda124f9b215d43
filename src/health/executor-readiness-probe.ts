import type { TaskExecutor } from '../execution/task-executor.js';
import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Ready when the service can hand out work, whether or not a worker is there. */
export class ExecutorReadinessProbe extends ReadinessProbe {
  constructor(private readonly executor: Pick<TaskExecutor, 'checkHealth'>) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('executor', () => this.executor.checkHealth());
  }
}
