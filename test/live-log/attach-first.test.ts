import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import type { Statement } from '../../src/database/queryable.js';
import { Fallbacks } from '../../src/following/fallbacks.js';
import { Hub } from '../../src/following/hub.js';
import { InProcessLiveLog } from '../../src/live-log/in-process-live-log.js';
import { OpenSubscription } from '../../src/following/open-subscription.js';
import { MetricsSink } from '../../src/observability/metrics-sink.js';
import { Observer } from '../../src/observability/observer.js';
import { TransportDiagnosticsSink } from '../../src/observability/transport-diagnostics-sink.js';
import { OwnershipPolicy } from '../../src/ownership/ownership-policy.js';
import { CancelTask } from '../../src/tasks/cancel-task.js';
import { ReadOutput } from '../../src/tasks/read-output.js';
import { TaskPolicies } from '../../src/tasks/task-policies.js';
import { createTestDatabase } from '../support/postgres.js';
import { createReplica, OWNER, type Replica, waitingTask } from '../support/replica.js';
import { nextEvents } from '../support/next-events.js';

/** Lets something happen between the answer of PostgreSQL and its caller. */
class SteppingDatabase extends Database {
  afterAnswer: (answers: number) => Promise<unknown> = () => Promise.resolve();
  answers = 0;

  override async query<Row extends object>(statement: Statement, values?: readonly unknown[]): Promise<readonly Row[]> {
    const rows = await super.query<Row>(statement, values);
    this.answers += 1;
    await this.afterAnswer(this.answers);
    return rows;
  }
}

describe('A subscription that is being opened', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let replica: Replica;
  let stepping: SteppingDatabase;
  let hub: Hub;

  beforeAll(async () => {
    database = await createTestDatabase();
    const liveLog = new InProcessLiveLog();
    replica = await createReplica(database.appUrl, { liveLog });
    stepping = new SteppingDatabase(createPool(database.appUrl, { max: 2 }));
    hub = new Hub(replica.database, liveLog, replica.get(TransportDiagnosticsSink));
    // The hub is not started, because its comparison of heads would hide a missed event within a second.
    liveLog.follow(hub);
  });

  afterAll(async () => {
    await stepping.stop();
    await replica.stop();
    await database.drop();
  });

  // Opening takes two answers of PostgreSQL. At the third the subscription is live already.
  it.each([1, 2, 3])(
    'misses nothing that is committed right after answer %d of PostgreSQL',
    async (when) => {
      const taskId = await waitingTask(replica.database);
      const open = new OpenSubscription(
        hub,
        stepping,
        replica.get(OwnershipPolicy),
        replica.get(Observer),
        replica.get(TransportDiagnosticsSink),
        new Fallbacks(replica.get(MetricsSink)),
        replica.get(ReadOutput),
      );
      const cancel = () => replica.get(CancelTask).execute(OWNER, taskId);
      let isCancelled = false;
      const from = stepping.answers;
      stepping.afterAnswer = async (answers) => {
        if (answers !== from + when) return;
        isCancelled = true;
        await cancel();
      };
      const subscription = await open.execute(OWNER, taskId, undefined, 'sse');
      const next = nextEvents(subscription);
      if (!isCancelled) await cancel();
      expect((await next)?.map(({ type }) => type)).toEqual(['TASK_CANCELLED']);
      subscription.close();
    },
    5_000,
  );

  // The owner, the task as it is, and the read of its text, of which this task has none.
  it.each([1, 2])(
    'begins so that what is committed right after answer %d of PostgreSQL is in the snapshot or follows it',
    async (when) => {
      const taskId = await waitingTask(replica.database);
      const open = new OpenSubscription(
        hub,
        stepping,
        replica.get(OwnershipPolicy),
        replica.get(Observer),
        replica.get(TransportDiagnosticsSink),
        new Fallbacks(replica.get(MetricsSink)),
        new ReadOutput(stepping, replica.get(TaskPolicies), replica.get(MetricsSink)),
      );
      const from = stepping.answers;
      stepping.afterAnswer = async (answers) => {
        if (answers === from + when) await replica.get(CancelTask).execute(OWNER, taskId);
      };
      const subscription = await open.execute(OWNER, taskId, undefined, 'sse', 'snapshot');
      const head = subscription.takeSnapshot()?.view.headEventId;
      expect(head).toBe(when === 1 ? 1 : 0);
      const next = head === 0 ? (await nextEvents(subscription))?.map(({ type }) => type) : ['TASK_CANCELLED'];
      expect(next).toEqual(['TASK_CANCELLED']);
      expect(subscription.takeSnapshot()).toBeUndefined();
      subscription.close();
    },
    5_000,
  );
});
