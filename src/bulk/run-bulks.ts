import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { callerOf } from '../auth/stored-principal.js';
import { Database } from '../database/database.js';
import { TaskBridgeError } from '../errors.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { CancelTask } from '../tasks/cancel-task.js';
import { RetryTask } from '../tasks/retry-task.js';
import { noteOutcomes, type Outcome, takeDueBulk, type TakenBulk } from './bulk-rows.js';

/** The tasks of one bulk that are done in a second, on all replicas together: 10 000 take some minutes. */
const A_SECOND = 50;
/** Tasks of a part that are done at a time: each takes a connection. */
const AT_ONE_TIME = 5;
/** Where the service or the owner has no room for more. */
const NO_ROOM_SECONDS = 5;

/**
 * Does the work of bulks, a part in each second, in the name of the principal that began it: each task is judged like a request of
 * that principal. A part that a crash cut off is done again, which changes nothing: a cancellation is, and a run again has an id.
 */
@Injectable()
export class RunBulks {
  constructor(
    private readonly database: Database,
    private readonly cancelTask: CancelTask,
    private readonly retryTask: RetryTask,
    private readonly metrics: MetricsSink,
  ) {}

  /** One part of each bulk that is due. */
  async execute(): Promise<void> {
    for (;;) {
      const bulk = await takeDueBulk(this.database, A_SECOND);
      if (!bulk) return;
      await this.part(bulk);
    }
  }

  private async part(bulk: TakenBulk): Promise<void> {
    const { bulkId, kind, taskIds } = bulk;
    const auth = callerOf(bulk.principal);
    const outcomes: Outcome[] = [];
    for (let i = 0; i < taskIds.length; i += AT_ONE_TIME) {
      const some = taskIds.slice(i, i + AT_ONE_TIME).map((taskId) => this.done(auth, bulk, taskId));
      outcomes.push(...(await Promise.all(some)).filter((one) => one !== undefined));
    }
    for (const { outcome } of outcomes) this.metrics.increment('bulk_tasks_total', { kind, outcome: labelOf(outcome) });
    const pauseSeconds = outcomes.length < taskIds.length ? NO_ROOM_SECONDS : 1;
    await noteOutcomes(this.database, bulkId, outcomes, taskIds.length === 0 ? null : pauseSeconds);
  }

  /** Undefined: it is to be tried again. */
  private async done(auth: AuthContext, { bulkId, kind }: TakenBulk, taskId: string): Promise<Outcome | undefined> {
    try {
      if (kind === 'cancel') {
        const { status } = await this.cancelTask.execute(auth, taskId, 'bulk');
        return { taskId, outcome: status, newTaskId: null };
      }
      const again = await this.retryTask.execute(auth, taskId, { clientRequestId: `bulk:${bulkId}:${taskId}` });
      return { taskId, outcome: 'RETRIED', newTaskId: again.taskId };
    } catch (error) {
      if (!(error instanceof TaskBridgeError)) throw error;
      if (error.kind === 'unavailable' || error.kind === 'too_many') return undefined;
      return { taskId, outcome: error.code, newTaskId: null };
    }
  }
}

/** A host has codes of its own, and a label has few values. */
function labelOf(outcome: string): 'done' | 'refused' {
  return ['CANCELLATION_REQUESTED', 'ALREADY_TERMINAL', 'RETRIED'].includes(outcome) ? 'done' : 'refused';
}
