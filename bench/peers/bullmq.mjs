import { setTimeout as delay } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { answerCalls } from '../child.js';
import { Tally } from '../tally.mjs';

// BullMQ: a worker of empty jobs.

const QUEUE = 'bench';
/** Jobs of one `addBulk`. */
const AT_A_TIME = 2_000;

const tally = new Tally();
let queue;
let connection;
let options;

async function unfinished() {
  const { waiting, active } = await queue.getJobCounts('waiting', 'active');
  return waiting + active;
}

answerCalls({
  start(redisUrl, workerOptions) {
    const { hostname: host, port } = new URL(redisUrl);
    connection = { host, port: Number(port), maxRetriesPerRequest: null };
    options = workerOptions;
    queue = new Queue(QUEUE, { connection });
    queue.on('error', (error) => console.error(error));
  },

  async fill(count) {
    for (let from = 0; from < count; from += AT_A_TIME) {
      const length = Math.min(AT_A_TIME, count - from);
      await queue.addBulk(Array.from({ length }, (_, n) => ({ name: 'empty', data: { n: from + n } })));
    }
  },

  /** Seconds from the first job to the end of the last of `count`. */
  async drain(count) {
    tally.begin();
    const worker = new Worker(QUEUE, async ({ data }) => tally.ran(data.n), { ...options, connection });
    worker.on('error', (error) => console.error(error));
    await tally.reaches(count);
    while ((await unfinished()) > 0) await delay(2);
    const took = performance.now() - tally.firstAt;
    await worker.close();
    return took / 1000;
  },
});
