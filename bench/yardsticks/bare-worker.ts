import '../../test/support/load-nest.js';
import { ClaimTasks } from '../../src/tasks/claim-tasks.js';
import { EndAttempt } from '../../src/tasks/end-attempt.js';
import { createReplica, type Replica, waitingTask } from '../../test/support/replica.js';
import { answerCalls } from '../child.js';

// Claims and completions without HTTP: several workers run the transactions of the service one after the other.

const WORKER = { workerId: 'bench', principalId: 'worker:bench' };
/** Tasks of one claim. */
const TASKS = 10;
const MAKERS = 8;

let replica: Replica;

answerCalls({
  async start(url: string): Promise<void> {
    replica = await createReplica(url, { env: { LOG_LEVEL: 'error' } });
  },

  async prepare(tasks: number): Promise<void> {
    let left = tasks;
    const make = async () => {
      while (left-- > 0) await waitingTask(replica.database, 'bench.wait');
    };
    await Promise.all(Array.from({ length: MAKERS }, make));
  },

  async work(workers: number, seconds: number) {
    const startedAt = performance.now();
    let count = 0;
    await Promise.all(
      Array.from({ length: workers }, async () => {
        while (performance.now() - startedAt < seconds * 1000) {
          const leases = await replica.get(ClaimTasks).execute(WORKER, ['bench.wait'], TASKS);
          for (const { identity, token } of leases) {
            await replica
              .get(EndAttempt)
              .execute(identity.taskId, { kind: 'complete', token, result: null }, { remembered: true });
          }
          count += leases.length;
        }
      }),
    );
    return { count, seconds: (performance.now() - startedAt) / 1000 };
  },
});
