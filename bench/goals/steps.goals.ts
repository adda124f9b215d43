import { Client, uniqueId } from '../../test/support/client.js';
import { eventually } from '../../test/support/service.js';
import type { Finding, Goal, Side } from '../goal.js';
import { median } from '../median.js';
import type { Stage } from '../stage.js';
import { written } from '../written.js';

/** Calls of one task of these types: see host-module.mjs. */
const CALLS = 10;

/** One call of a handler that waits until it is stored, in tasks that run one after the other. */
function callsOf(taskType: 'bench.steps' | 'bench.messages') {
  return async (stage: Stage): Promise<Side> => {
    const { url, database } = await stage.service();
    const client = new Client(url);
    const side = async (): Promise<Finding> => {
      const before = await written(database);
      const took: number[] = [];
      for (let n = 0; n < stage.sizes.stepTasks; n += 1) took.push(...(await timesOf(client, taskType)));
      const after = await written(database);
      return {
        figure: median(took),
        'commits a task': (after.commits - before.commits) / stage.sizes.stepTasks,
        'bytes of WAL a task': (after.walBytes - before.walBytes) / stage.sizes.stepTasks,
      };
    };
    await side();
    return side;
  };
}

async function timesOf(client: Client, taskType: string): Promise<readonly number[]> {
  const { body } = await client.create({ clientRequestId: uniqueId(), taskType });
  const { took } = await eventually('the task is over', async () => {
    const { body: task } = await client.snapshot(body.taskId);
    if (task.status === 'FAILED') throw new Error('the task failed');
    return task.status === 'COMPLETED' && (task.result as unknown as { took: readonly number[] });
  });
  if (took.length !== CALLS) throw new Error(`${took.length} calls were stored, of ${CALLS}`);
  return took;
}

export const STEPS: readonly Goal[] = [
  {
    name: 'W4',
    title: 'a step of a handler, p50 (tasks of ten)',
    against: 'a message of a handler',
    unit: 'ms',
    judged: 'ratio',
    ours: callsOf('bench.steps'),
    yardstick: callsOf('bench.messages'),
  },
];
