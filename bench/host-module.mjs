// The service under test loads this: handlers, and commands for them from a socket.
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { TASK_HANDLERS } from 'taskbridge';
import { Tally } from './tally.mjs';
import { now, speak } from './tokens.mjs';

const TEXT = 'x'.repeat(150);
const contexts = [];
/** The times of appends on command, in ms of the machine's clock. Kept only from the first request for them. */
let calledAt;
/** The ends of tasks that hold a slot each. */
const plugs = [];
const tally = new Tally();
/** Times of the handler's first line by the number in the input. */
let starts = {};
/** Streams of tokens that run, by the number in the input. */
const streams = new Map();

function untilStopped({ signal }) {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
}

/** Milliseconds of each of `rounds` calls, one after the other. */
async function timed(rounds, work) {
  const took = [];
  for (let n = 0; n < rounds; n += 1) {
    const startedAt = performance.now();
    await work(n);
    took.push(performance.now() - startedAt);
  }
  return took;
}

const handlers = {
  'bench.plug': () => new Promise((resolve) => plugs.push(resolve)),
  'bench.empty': (_, { taskId }) => tally.ran(taskId),
  'bench.timed': ({ n }) => void (starts[n] = now()),
  /** Ten steps, one after the other. Answers the ms of each. */
  'bench.steps': async (_, context) => ({ took: await timed(10, (n) => context.step(`step.${n}`, () => ({ n }))) }),
  /** The same with messages. */
  'bench.messages': async (_, context) => ({ took: await timed(10, (n) => context.message(JSON.stringify({ n }))) }),
  'bench.stream': ({ index }, context) => {
    streams.set(index, context);
    return untilStopped(context);
  },
  'bench.append': (input, context) => {
    contexts[input.index] = context;
    return untilStopped(context);
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
  /** The number of tasks that hold a slot. */
  plugs: () => plugs.length,
  /** Frees the slots, and resolves when `count` waiting tasks have run. */
  async drain({ count }) {
    tally.begin();
    for (const end of plugs.splice(0)) end();
    await tally.reaches(count);
    return true;
  },
  /** The times since the last call. */
  starts() {
    const before = starts;
    starts = {};
    return before;
  },
  /** The number of streams that run here. */
  streams: () => streams.size,
  /** Tokens of the streams with a number below `below`, for `seconds`. Answers how many streams that were, and the tokens of each. */
  async tokens({ below, seconds, perSecond }) {
    const chosen = [...streams].filter(([index]) => index < below).map(([, context]) => context);
    const tokens = Math.ceil(seconds * perSecond);
    await Promise.all(chosen.map((context) => speak((token) => void context.output(token), tokens, perSecond)));
    return { streams: chosen.length, tokens };
  },
  /** The number of appends since the last call. */
  calls() {
    const calls = calledAt;
    calledAt = [];
    return calls ?? [];
  },
  /** Milliseconds of each of `rounds` appends to one task. */
  appends: ({ index, rounds }) => timed(rounds, () => contexts[index].message(TEXT)),
};

createServer((socket) => {
  createInterface({ input: socket }).on('line', async (line) => {
    const { publish, burst, call, args } = JSON.parse(line);
    if (publish) {
      calledAt?.push(now());
      for (const index of publish) for (let n = 0; n < burst; n += 1) void contexts[index].message(TEXT);
      return;
    }
    const answer = await Promise.resolve(commands[call](args ?? {})).then(
      (result) => ({ result: result ?? null }),
      (error) => ({ error: String(error) }),
    );
    socket.write(`${JSON.stringify(answer)}\n`);
  });
  socket.on('error', () => {});
}).listen(process.env.BENCH_CONTROL);

export default {
  module: class BenchHost {},
  providers: [{ provide: TASK_HANDLERS, useValue: handlers }],
};
