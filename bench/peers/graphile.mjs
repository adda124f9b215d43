import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { Logger, makeWorkerUtils, run, WorkerPreset } from 'graphile-worker';
import { answerCalls } from '../child.js';
import { Tally } from '../tally.mjs';

// Graphile Worker: `addJob` behind a bare node:http, and a runner of empty jobs.

/** Jobs of one `addJobs`. */
const AT_A_TIME = 2_000;

const tally = new Tally();
/** Times of the handler's first line by the number in the payload, in ms of the machine's clock. */
let starts = {};
let preset;
let utils;
let runner;

const taskList = {
  'bench.empty': ({ n }) => tally.ran(n),
  'bench.timed': ({ n }) => void (starts[n] = Number(process.hrtime.bigint()) / 1e6),
};

const unfinished = () =>
  utils.withPgClient(async (client) => {
    const { rows } = await client.query('SELECT count(*)::int AS count FROM graphile_worker._private_jobs');
    return rows[0].count;
  });

answerCalls({
  async start(connectionString, worker) {
    preset = {
      extends: [WorkerPreset],
      worker: { ...worker, connectionString, logger: new Logger(() => () => undefined) },
    };
    utils = await makeWorkerUtils({ preset });
    await utils.migrate();
  },

  async serve() {
    const server = createServer(async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const { clientRequestId, taskType, input } = JSON.parse(String(Buffer.concat(chunks)));
      const { id } = await utils.addJob(taskType, input);
      response.writeHead(201, { 'Content-Type': 'application/json; charset=utf-8', Location: `tasks/${id}` });
      response.end(JSON.stringify({ taskId: id, status: 'ACCEPTED', clientRequestId, deduplicated: false }));
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${server.address().port}`;
  },

  unfinished,

  async fill(count) {
    for (let from = 0; from < count; from += AT_A_TIME) {
      const length = Math.min(AT_A_TIME, count - from);
      await utils.addJobs(Array.from({ length }, (_, n) => ({ identifier: 'bench.empty', payload: { n: from + n } })));
    }
  },

  /** Seconds from the first job to the end of the last of `count`. */
  async drain(count) {
    tally.begin();
    runner = await run({ preset, taskList, noHandleSignals: true });
    await tally.reaches(count);
    while ((await unfinished()) > 0) await delay(2);
    const took = performance.now() - tally.firstAt;
    await runner.stop();
    return took / 1000;
  },

  async work() {
    runner = await run({ preset, taskList, noHandleSignals: true });
  },

  /** The times since the last call. */
  starts() {
    const before = starts;
    starts = {};
    return before;
  },
});
