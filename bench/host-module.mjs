// The service under test loads this: a handler whose tasks run until the service stops, and append on commands from a socket.
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { TASK_HANDLERS } from 'taskbridge';

const TEXT = 'x'.repeat(150);
const contexts = [];
/** The times of appends on command, in ms of the machine's clock. Kept only from the first request for them. */
let calledAt;

const handlers = {
  'bench.append': (input, context) => {
    contexts[input.index] = context;
    return new Promise((_, reject) => {
      context.signal.addEventListener('abort', () => reject(context.signal.reason));
    });
  },
};

const commands = {
  /** The number of running tasks. */
  running: () => contexts.filter(Boolean).length,
  /** Events a second of `writers` writers. Each waits until its last event is stored. */
  async writers({ writers, seconds }) {
    const startedAt = performance.now();
    let stored = 0;
    await Promise.all(
      contexts.slice(0, writers).map(async (context) => {
        while (performance.now() - startedAt < seconds * 1000) {
          await context.message(TEXT);
          stored += 1;
        }
      }),
    );
    return stored / ((performance.now() - startedAt) / 1000);
  },
  /** The number of appends since the last call. */
  calls() {
    const calls = calledAt;
    calledAt = [];
    return calls ?? [];
  },
  /** Milliseconds of each of `rounds` appends to one task. */
  async appends({ index, rounds }) {
    const took = [];
    for (let n = 0; n < rounds; n += 1) {
      const startedAt = performance.now();
      await contexts[index].message(TEXT);
      took.push(performance.now() - startedAt);
    }
    return took;
  },
};

createServer((socket) => {
  createInterface({ input: socket }).on('line', async (line) => {
    const { publish, burst, call, args } = JSON.parse(line);
    if (publish) {
      calledAt?.push(Number(process.hrtime.bigint()) / 1e6);
      for (const index of publish) for (let n = 0; n < burst; n += 1) void contexts[index].message(TEXT);
    } else socket.write(`${JSON.stringify(await commands[call](args ?? {}))}\n`);
  });
  socket.on('error', () => {});
}).listen(process.env.BENCH_CONTROL);

export default {
  module: class BenchHost {},
  providers: [{ provide: TASK_HANDLERS, useValue: handlers }],
};
