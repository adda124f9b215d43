import { Worker } from '../packages/worker/src/worker.js';
import { WORKER_TOKEN } from '../test/support/worker-client.js';
import { answerCalls } from './child.js';
import { Tally } from './tally.mjs';

// A remote worker of the SDK.

const CONCURRENCY = 50;

const tally = new Tally();
let worker: Worker | undefined;

answerCalls({
  /** Claims from now on. Resolves when `count` tasks ran. */
  async drain(url: string, count: number): Promise<void> {
    tally.begin();
    const handlers = { 'bench.wait': (_: unknown, { taskId }: { taskId: string }) => tally.ran(taskId) };
    worker = new Worker({ url, token: WORKER_TOKEN, handlers, concurrency: CONCURRENCY, handleSignals: false });
    worker.start();
    await tally.reaches(count);
  },

  stop: () => worker?.stop(),
});
