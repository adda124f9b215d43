import { callControl } from '../control.js';
import { durably, swarmOn } from '../fan-out.js';
import type { Goal, Side } from '../goal.js';
import { median } from '../median.js';
import type { Stage } from '../stage.js';
import { runningTasks } from '../tasks.js';

/** Runs the service's statements without the service. */
async function rawSql(stage: Stage, tasks: number) {
  const database = await stage.database();
  const child = stage.child('yardsticks/raw-sql.ts');
  await child.call('start', database.appUrl, database.superuserUrl, tasks);
  return child;
}

/** The time from the handler's call to append to the frame at a subscriber in another process. */
async function appendToFrame(stage: Stage): Promise<Side> {
  const serving = await durably(stage, 1);
  const swarm = await swarmOn(stage, serving, { subscribers: 1 });
  const side = async () => {
    await callControl(serving.served, 'calls');
    const arrivals = await swarm.call<number[]>('oneByOne', stage.sizes.rounds);
    const calls = await callControl<number[]>(serving.served, 'calls');
    return { figure: median(arrivals.map((arrivedAt, n) => arrivedAt - (calls[n] ?? NaN))) };
  };
  await side();
  return side;
}

async function commitAndRoundTrip(stage: Stage): Promise<Side> {
  const sql = await rawSql(stage, 1);
  const [server, client] = [stage.child('yardsticks/echo.ts'), stage.child('yardsticks/echo.ts')];
  const port = await server.call<number>('serve');
  const { rounds } = stage.sizes;
  const side = async () => {
    const commit = median(await sql.call<number[]>('commits', rounds));
    const roundTrip = median(await client.call<number[]>('roundTrips', port, rounds));
    return { figure: commit + roundTrip, 'ms a commit': commit, 'ms a round trip': roundTrip };
  };
  await side();
  return side;
}

async function manyWriters(stage: Stage): Promise<Side> {
  const served = await stage.service();
  const { writers, seconds } = stage.sizes;
  await runningTasks(served, writers);
  const side = async () => ({ figure: await callControl<number>(served, 'writers', { writers, seconds }) });
  await side();
  return side;
}

async function oneCommitEach(stage: Stage): Promise<Side> {
  const sql = await rawSql(stage, stage.sizes.writers);
  const side = async () => ({ figure: await sql.call<number>('oneByOne', stage.sizes.seconds) });
  await side();
  return side;
}

function loneWriter(of: 'queued' | 'direct') {
  return async (stage: Stage): Promise<Side> => {
    const sql = await rawSql(stage, 1);
    const side = async () => {
      const took = await sql.call<Record<typeof of, number[]>>('lone', stage.sizes.rounds);
      return { figure: median(took[of]) };
    };
    await side();
    return side;
  };
}

export const APPEND: readonly Goal[] = [
  {
    name: 'G7',
    title: 'append to frame received, p50',
    against: 'a commit and a socket round trip',
    unit: 'ms',
    judged: 'ratio',
    gate: { atMost: 3 },
    stretch: { atMost: 1.6 },
    ours: appendToFrame,
    yardstick: commitAndRoundTrip,
  },
  {
    name: 'G8',
    title: 'durable append, 64 writers',
    against: 'one commit an event',
    unit: 'events/s',
    judged: 'ratio',
    gate: { atLeast: 3 },
    stretch: { atLeast: 5 },
    ours: manyWriters,
    yardstick: oneCommitEach,
  },
  {
    name: 'G9',
    title: 'a lone writer through the queue, p50',
    against: 'the statement alone',
    unit: 'ms',
    judged: 'ratio',
    gate: { atMost: 1.15 },
    stretch: { atMost: 1.05 },
    ours: loneWriter('queued'),
    yardstick: loneWriter('direct'),
  },
];
