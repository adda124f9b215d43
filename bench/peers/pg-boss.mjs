import { setTimeout as delay } from 'node:timers/promises';
import { PgBoss } from 'pg-boss';
import { answerCalls } from '../child.js';
import { Tally } from '../tally.mjs';

// pg-boss: a worker that takes batches of empty jobs.

const QUEUE = 'bench';
/** Jobs of one `insert`. */
const AT_A_TIME = 2_000;

const tally = new Tally();
let boss;
let options;

async function unfinished() {
  const { rows } = await boss
    .getDb()
    .executeSql(`SELECT count(*)::int AS count FROM pgboss.job WHERE name = $1 AND state < 'completed'`, [QUEUE]);
  return rows[0].count;
}

answerCalls({
  async start(connectionString, workOptions) {
    options = workOptions;
    boss = new PgBoss({ connectionString });
    boss.on('error', (error) => console.error(error));
    await boss.start();
    await boss.createQueue(QUEUE);
  },

  async fill(count) {
    for (let from = 0; from < count; from += AT_A_TIME) {
      const length = Math.min(AT_A_TIME, count - from);
      await boss.insert(
        QUEUE,
        Array.from({ length }, (_, n) => ({ data: { n: from + n } })),
      );
    }
  },

  /** Seconds from the first job to the end of the last of `count`. */
  async drain(count) {
    tally.begin();
    await boss.work(QUEUE, options, async (jobs) => {
      for (const { data } of jobs) tally.ran(data.n);
    });
    await tally.reaches(count);
    while ((await unfinished()) > 0) await delay(2);
    const took = performance.now() - tally.firstAt;
    await boss.offWork(QUEUE);
    return took / 1000;
  },
});
