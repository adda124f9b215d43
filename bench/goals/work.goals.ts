import { setTimeout as delay } from 'node:timers/promises';
import { bareWs, durably, type Serving, swarmOn } from '../fan-out.js';
import type { Goal, Side } from '../goal.js';
import { median } from '../median.js';
import type { Served, Stage } from '../stage.js';
import { connections } from '../tasks.js';

const WORKERS = 8;
/** More tasks than a repetition finishes in a second. */
const TASKS_A_SECOND = 4_000;
const HISTORY = 50;
const LOOK_MS = 20;

interface Done {
  readonly count: number;
  readonly seconds: number;
}

/** Claims without a task are no work, so there must always be waiting tasks. */
function rateOf(stage: Stage, { count, seconds }: Done): { readonly figure: number } {
  if (count > tasksFor(stage) - WORKERS * 10) throw new Error('there was nothing left to claim');
  return { figure: count / seconds };
}

const tasksFor = ({ sizes }: Stage) => Math.ceil(TASKS_A_SECOND * sizes.seconds) + WORKERS * 20;

async function overHttp(stage: Stage): Promise<Side> {
  // Tasks that a repetition leaves waiting are there in the next.
  const { url } = await stage.service({ OPEN_TASKS_PER_PRINCIPAL: '0' });
  const client = stage.child('http-process.ts');
  return async () => {
    await client.call('prepare', url, tasksFor(stage));
    const { count, seconds } = await client.call<Done>('work', {
      url,
      connections: WORKERS,
      seconds: stage.sizes.seconds,
    });
    return rateOf(stage, { count, seconds });
  };
}

/** W1's loop over the SQL. */
export async function withoutHttp(stage: Stage): Promise<Side> {
  const database = await stage.database();
  const child = stage.child('yardsticks/bare-worker.ts');
  await child.call('start', database.appUrl);
  return async () => {
    await child.call('prepare', tasksFor(stage));
    const { count, seconds } = await child.call<Done>('work', WORKERS, stage.sizes.seconds);
    return rateOf(stage, { count, seconds });
  };
}

/** The time from a create to the lease at one of the workers that wait. */
function claimLatency(workersOf: (stage: Stage) => number) {
  return async (stage: Stage): Promise<Side> => {
    const { url } = await stage.service();
    const client = stage.child('http-process.ts');
    await client.call('wait', url, workersOf(stage));
    const side = async () => ({
      figure: median(await client.call<number[]>('claimLatencies', url, Math.ceil(stage.sizes.rounds / 4))),
    });
    await side();
    return side;
  };
}

/** Subscribers reconnect all at once, each with the events after `from` to catch up: seconds until the last one has them. */
function reconnect(serve: (stage: Stage) => Promise<Serving & { served?: Served }>, from: number) {
  return async (stage: Stage): Promise<Side> => {
    const serving = await serve(stage);
    return async () => {
      const cpuBefore = await serving.cpuSeconds();
      const swarm = stage.child('swarm-process.ts');
      const { url, taskIds, head } = serving;
      const gathering = swarm.call<number>('gather', {
        ...{ url, taskIds, head, lastEventId: from },
        ...{ subscribers: stage.sizes.returning, transport: 'websocket' },
      });
      const isOver = gathering.then(
        () => true,
        () => true,
      );
      let most = 0;
      while (!(await Promise.race([isOver, delay(LOOK_MS, false)])) && serving.served) {
        most = Math.max(most, (await connections(serving.served)).postgres);
      }
      const figure = await gathering;
      await swarm.stop();
      const cpu = (await serving.cpuSeconds()) - cpuBefore;
      return { figure, 'seconds of CPU': cpu, 'PostgreSQL connections': most };
    };
  };
}

async function withEvents(stage: Stage): Promise<Serving & { served: Served }> {
  const serving = await durably(stage);
  const swarm = await swarmOn(stage, serving, { subscribers: serving.taskIds.length });
  await swarm.call('drive', { seconds: 0, burst: HISTORY });
  await swarm.stop();
  return { ...serving, head: serving.head + HISTORY };
}

export const WORK: readonly Goal[] = [
  {
    name: 'W1',
    title: 'claim and complete, 8 workers',
    against: 'the same transactions without HTTP',
    unit: 'tasks/s',
    judged: 'ratio',
    ours: overHttp,
    yardstick: withoutHttp,
  },
  {
    name: 'W2',
    title: 'create to claim, 1 000 idle workers, p50',
    against: 'one idle worker',
    unit: 'ms',
    judged: 'ratio',
    ours: claimLatency(({ sizes }) => sizes.idleWorkers),
    yardstick: claimLatency(() => 1),
  },
  {
    name: 'W3',
    title: '2 000 come back, 50 events behind each',
    against: 'bare ws, out of memory',
    unit: 's',
    judged: 'ratio',
    ours: reconnect(withEvents, 1),
    yardstick: reconnect((stage) => bareWs(stage, stage.sizes.tasks, HISTORY), 0),
  },
];
