import { connected } from '../../test/support/fold.js';
import { callControl } from '../control.js';
import { creating } from '../creating.js';
import { byPeer, byRedisPeer, byRemoteWorkers, byReplica, INLINE_CONCURRENCY } from '../drain.js';
import type { Goal, Side } from '../goal.js';
import { median, percentile } from '../median.js';
import { BULLMQ, BULLMQ_REDIS, GRAPHILE, GRAPHILE_BATCHING, PG_BOSS, settingsOf } from '../peers.js';
import { insertWaiting, settle, type WaitingRows } from '../queue-rows.js';
import type { Stage } from '../stage.js';
import { withoutHttp } from './work.goals.js';

const GRAPHILE_SETTINGS = settingsOf('graphile-worker', GRAPHILE);

/** `addJob` behind a bare node:http. */
async function addJobs(stage: Stage): Promise<Side> {
  const { database, peer, url } = await graphile(stage);
  return creating(stage, { url, database, cpuSeconds: () => peer.cpuSeconds() }, 'graphile_worker._private_jobs');
}

async function graphile(stage: Stage) {
  const database = await stage.database();
  const peer = await stage.peer('graphile.mjs');
  await peer.call('start', database.ownerUrl, GRAPHILE);
  return { database, peer, url: await peer.call<string>('serve') };
}

/** What each server of a goal takes, creates a second with their execution. Both get half of what the slower one takes. */
const capacities = new WeakMap<Stage, number[]>();

/** A server that runs a handler for each create, and that knows when. */
interface Runner {
  readonly url: string;
  /** The times of the handlers' first lines since the last call, by the number in the input. */
  starts(): Promise<Readonly<Record<string, number>>>;
}

/** Milliseconds from a create to the first line of its handler, at half load. */
function toFirstLine(serve: (stage: Stage) => Promise<Runner>, share: number) {
  return async (stage: Stage): Promise<Side> => {
    const { url, starts } = await serve(stage);
    const client = stage.child('http-process.ts');
    const load = { url, connections: stage.sizes.writers, seconds: stage.sizes.seconds };
    const started = await startedTasks(starts);
    const most = async () => {
      const startedAt = performance.now();
      const { count } = await client.call<{ count: number }>('createTimed', load);
      await started(count);
      return count / ((performance.now() - startedAt) / 1000);
    };
    await most();
    capacities.set(stage, [...(capacities.get(stage) ?? []), await most()]);
    return async () => {
      const perSecond = Math.min(...(capacities.get(stage) ?? [])) / 2;
      const seconds = 2 * stage.sizes.seconds;
      const sent = await client.call<Record<string, number>>('createEvenly', { ...load, seconds }, perSecond);
      const began = await started(Object.keys(sent).length);
      const took = Object.entries(sent).map(([n, at]) => (began[n] ?? Number.NaN) - at);
      return {
        figure: percentile(took, share),
        'creates/s': perSecond,
        'p50 ms': percentile(took, 0.5),
        'p99 ms': percentile(took, 0.99),
      };
    };
  };
}

/** Waits until that many handlers began since the last time. */
async function startedTasks(starts: Runner['starts']) {
  await starts();
  return async (count: number): Promise<Readonly<Record<string, number>>> => {
    const began: Record<string, number> = {};
    for (const since = performance.now(); ; ) {
      Object.assign(began, await starts());
      if (Object.keys(began).length === count) return began;
      if (performance.now() - since > 20_000) throw new Error(`${Object.keys(began).length} of ${count} tasks began`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
}

const inlineRunner =
  (env: Env = {}) =>
  async (stage: Stage): Promise<Runner> => {
    const served = await stage.service({ INLINE_CONCURRENCY: String(INLINE_CONCURRENCY), ...env });
    return { url: served.url, starts: () => callControl(served, 'starts') };
  };

async function graphileRunner(stage: Stage): Promise<Runner> {
  const { peer, url } = await graphile(stage);
  await peer.call('work');
  return { url, starts: () => peer.call('starts') };
}

type Env = Readonly<Record<string, string>>;

const FULL_KEY = 'bench.wait:full';

/** The queue of a claim of one: the rows that it meets in the beginning, and those that follow on each claim. */
interface Meeting {
  readonly first: readonly WaitingRows[];
  readonly each?: WaitingRows;
}

/** Milliseconds of a claim of one over HTTP. What was claimed is ended, and other tasks take its place, outside of the measure. */
function claimOfOne(meetingOf: (stage: Stage) => Meeting, env: Env = {}) {
  return async (stage: Stage): Promise<Side> => {
    const { url, database } = await stage.service({ OPEN_TASKS_PER_PRINCIPAL: '0', ...env });
    const { first, each } = meetingOf(stage);
    await connected(database.superuserUrl, async (db) => {
      for (const rows of first) await insertWaiting(db, rows);
      await settle(db);
    });
    const client = stage.child('http-process.ts');
    const side = () =>
      connected(database.superuserUrl, async (db) => {
        const took: number[] = [];
        let postgres = 0;
        for (let n = 0; n < stage.sizes.claims; n += 1) {
          if (each) await insertWaiting(db, each);
          const before = await stage.postgresCpuSeconds(database);
          took.push(await client.call<number>('claimOne', url));
          postgres += (await stage.postgresCpuSeconds(database)) - before;
        }
        const ended = await client.call<number>('completeClaimed');
        if (!each) await insertWaiting(db, { ...(first[0] as WaitingRows), count: ended });
        return { figure: median(took), 'ms of CPU of PostgreSQL a claim': (postgres / took.length) * 1000 };
      });
    await side();
    return side;
  };
}

const TYPE = { taskType: 'bench.wait' } as const;
const fewWaiting = () => ({ first: [{ ...TYPE, count: 100, owners: 10 }] });
const manyWaiting = ({ sizes }: Stage) => ({
  first: [{ ...TYPE, count: sizes.waiting, owners: sizes.waitingOwners }],
});
/** One task waits, and the others are held back. */
const manyHeld = ({ sizes }: Stage) => ({
  first: [{ ...TYPE, count: sizes.waiting - 1, owners: sizes.waitingOwners, heldBy: FULL_KEY }],
  each: { ...TYPE, count: 1, owners: 1 },
});

const drain = { unit: 'tasks/s', judged: 'ratio', ours: (stage: Stage) => byReplica(stage) } as const;
const claim = {
  against: '100 waiting of 10 owners',
  unit: 'ms',
  judged: 'ratio',
  gate: { atMost: 1.5 },
  stretch: { atMost: 1.1 },
  yardstick: claimOfOne(fewWaiting),
} as const;
const firstLine = (share: number) =>
  ({
    against: 'Graphile Worker behind node:http',
    settings: GRAPHILE_SETTINGS,
    unit: 'ms',
    judged: 'ratio',
    gate: { atMost: 1 },
    stretch: { atMost: 0.7 },
    ours: toFirstLine(inlineRunner(), share),
    yardstick: toFirstLine(graphileRunner, share),
  }) as const;

/** Limits that are counted with each claim, and never full. */
const LIMITS = { maxRunning: 1_000, maxRunningPerOwner: 1_000 };
const LIMITED: Env = {
  TASK_TYPES: JSON.stringify({ 'bench.wait': LIMITS, 'bench.empty': LIMITS, 'bench.timed': LIMITS }),
};
const limited = {
  against: 'the same without limits',
  settings: `maxRunning ${LIMITS.maxRunning}, maxRunningPerOwner ${LIMITS.maxRunningPerOwner}`,
  judged: 'ratio',
} as const;
const asMany = { ...limited, unit: 'tasks/s', gate: { atLeast: 0.7 } } as const;
const asFast = { ...limited, unit: 'ms', gate: { atMost: 1 / 0.7 } } as const;

export const QUEUE: readonly Goal[] = [
  {
    name: 'G15',
    title: 'create a task, 64 clients',
    against: 'addJob behind node:http',
    settings: settingsOf('graphile-worker', { maxPoolSize: GRAPHILE.maxPoolSize }),
    unit: 'creates/s',
    judged: 'ratio',
    gate: { atLeast: 1 },
    stretch: { atLeast: 1.5 },
    ours: async (stage) => creating(stage, await stage.service()),
    yardstick: addJobs,
  },
  {
    ...drain,
    name: 'G16',
    title: 'drain of empty tasks by one replica',
    against: 'Graphile Worker',
    settings: GRAPHILE_SETTINGS,
    gate: { atLeast: 1 },
    stretch: { atLeast: 2 },
    yardstick: byPeer('graphile.mjs', GRAPHILE),
    beside: [
      { settings: settingsOf('pg-boss', PG_BOSS), side: byPeer('pg-boss.mjs', PG_BOSS) },
      {
        settings: settingsOf('bullmq', BULLMQ, BULLMQ_REDIS),
        side: byRedisPeer('bullmq.mjs', BULLMQ, BULLMQ_REDIS),
      },
    ],
  },
  {
    ...drain,
    name: 'G16b',
    title: 'drain of empty tasks by one replica',
    against: 'Graphile Worker with batching',
    settings: settingsOf('graphile-worker', GRAPHILE_BATCHING),
    stretch: { atLeast: 0.3 },
    yardstick: byPeer('graphile.mjs', GRAPHILE_BATCHING),
  },
  { ...firstLine(0.5), name: 'G17', title: 'create to first line, half load, p50' },
  { ...firstLine(0.99), name: 'G17b', title: 'create to first line, half load, p99' },
  { ...claim, name: 'G18', title: 'claim of one, 10⁶ waiting of 10⁴ owners', ours: claimOfOne(manyWaiting) },
  { ...claim, name: 'G18b', title: 'claim of one, 10⁶ held by a full key', ours: claimOfOne(manyHeld) },
  {
    name: 'G19',
    title: 'remote workers (SDK, concurrency 50)',
    against: 'the same transactions without HTTP',
    unit: 'tasks/s',
    judged: 'ratio',
    gate: { atLeast: 0.6 },
    stretch: { atLeast: 0.8 },
    ours: (stage) => byRemoteWorkers(stage),
    yardstick: withoutHttp,
  },
  {
    ...asMany,
    name: 'G15l',
    title: 'create a task, with limits on',
    unit: 'creates/s',
    ours: async (stage) => creating(stage, await stage.service(LIMITED)),
    yardstick: async (stage) => creating(stage, await stage.service()),
  },
  {
    ...asMany,
    name: 'G16l',
    title: 'drain by one replica, with limits on',
    ours: (stage) => byReplica(stage, LIMITED),
    yardstick: (stage) => byReplica(stage),
  },
  {
    ...asFast,
    name: 'G17l',
    title: 'create to first line, with limits on, p50',
    ours: toFirstLine(inlineRunner(LIMITED), 0.5),
    yardstick: toFirstLine(inlineRunner(), 0.5),
  },
  {
    ...asFast,
    name: 'G18l',
    title: 'claim of one, with limits on',
    ours: claimOfOne(manyWaiting, LIMITED),
    yardstick: claimOfOne(manyWaiting),
  },
  {
    ...asMany,
    name: 'G19l',
    title: 'remote workers, with limits on',
    ours: (stage) => byRemoteWorkers(stage, LIMITED),
    yardstick: (stage) => byRemoteWorkers(stage),
  },
];
