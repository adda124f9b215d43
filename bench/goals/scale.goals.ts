import { connected } from '../../test/support/fold.js';
import { bareWs, durably, type Serving, swarmOn, throughRedis, driven } from '../fan-out.js';
import type { Goal, Side } from '../goal.js';
import { callControl } from '../control.js';
import { median } from '../median.js';
import type { Served, Stage } from '../stage.js';
import type { Gathering } from '../swarm-process.js';
import { connections, runningTasks } from '../tasks.js';
import { redisCpuSeconds, rssKiB } from '../usage.js';
import { setTimeout as delay } from 'node:timers/promises';

/** How long memory settles after the connections. */
const SETTLE_MS = 2_000;

/**
 * Resident memory for each of many silent subscribers. Each repetition has its own process, because a process keeps its memory.
 */
function idleSubscribers(
  serve: (stage: Stage) => Promise<Serving & { rssKiB(): Promise<number> }>,
  gathering: Partial<Gathering>,
) {
  return async (outer: Stage): Promise<Side> =>
    async () => {
      const stage = outer.another();
      try {
        const serving = await serve(stage);
        const few = Math.ceil(stage.sizes.idleSubscribers / 100);
        await swarmOn(stage, serving, { ...gathering, subscribers: few });
        const before = await serving.rssKiB();
        await swarmOn(stage, serving, { ...gathering, subscribers: stage.sizes.idleSubscribers });
        await delay(SETTLE_MS);
        return { figure: ((await serving.rssKiB()) - before) / stage.sizes.idleSubscribers };
      } finally {
        await stage.close();
      }
    };
}

const ofService = async (stage: Stage) => {
  const serving = await throughRedis(stage);
  return { ...serving, rssKiB: () => serving.served.rssKiB() };
};
const ofBareWs = async (stage: Stage) => {
  const serving = await bareWs(stage);
  return { ...serving, rssKiB: () => rssKiB(serving.child.pid) };
};

/** A running task with `events` events, and the means to measure it. */
async function withHistory(stage: Stage, events: number): Promise<{ served: Served; taskId: string }> {
  const served = await stage.service({ MAX_EVENTS_PER_TASK: '100000000' });
  const [taskId] = (await runningTasks(served, 1)) as [string];
  await connected(served.database.superuserUrl, async (db) => {
    await db.query(
      `INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
      SELECT $1, n, 'TASK_MESSAGE', json_build_object('message', repeat('x', 150), 'level', 'info'), $1, 'bench'
      FROM generate_series(2, $2) AS n`,
      [taskId, events],
    );
    await db.query('UPDATE taskbridge.proj_tasks SET head_event_id = $2 WHERE task_id = $1', [taskId, events]);
    await db.query('VACUUM ANALYZE taskbridge.events');
  });
  return { served, taskId };
}

/** Events of one page. */
const PAGE_EVENTS = 100;
/** A log with a page in its second half. */
const SHORT = 2 * PAGE_EVENTS;

/** Pages from the second half of the log, as a client reads them. */
function replay(eventsOf: (stage: Stage) => number) {
  return async (stage: Stage): Promise<Side> => {
    const events = eventsOf(stage);
    const { served, taskId } = await withHistory(stage, events);
    const { rounds } = stage.sizes;
    const side = async () => {
      const took: number[] = [];
      for (let n = 0; n < rounds; n += 1) {
        const after = events / 2 + Math.floor((n / rounds) * (events / 2 - PAGE_EVENTS));
        const startedAt = performance.now();
        const answer = await fetch(`${served.url}/api/v1/tasks/${taskId}/events?afterEventId=${after}`);
        if (!answer.ok) throw new Error(await answer.text());
        const page = (await answer.json()) as { events: readonly { eventId: string }[] };
        took.push(performance.now() - startedAt);
        const isWhole = page.events.every(({ eventId }, at) => Number(eventId) === after + 1 + at);
        if (!isWhole || page.events.length !== PAGE_EVENTS) throw new Error(`the page after ${after} has a hole`);
      }
      return { figure: median(took) };
    };
    await side();
    return side;
  };
}

function appendTo(eventsOf: (stage: Stage) => number) {
  return async (stage: Stage): Promise<Side> => {
    const { served } = await withHistory(stage, eventsOf(stage));
    const { rounds } = stage.sizes;
    const side = async () => ({ figure: median(await callControl<number[]>(served, 'appends', { index: 0, rounds })) });
    await side();
    return side;
  };
}

const long = ({ sizes }: Stage) => sizes.history;
const short = () => SHORT;

/** One subscriber for each task. The number of tasks that get events at a time is fixed. */
async function inTurn(stage: Stage, serving: Serving) {
  const swarm = await swarmOn(stage, serving, { subscribers: serving.taskIds.length });
  const drive = () => driven(stage, serving, swarm, { tasksAtATime: stage.sizes.tasks });
  await drive();
  return drive;
}

/**
 * In units of a bare server's CPU for the same work. The kernel's share grows with the number of sockets: 10 000 do not fit into
 * the caches.
 */
function cpuInTurn(tasksOf: (stage: Stage) => number) {
  return async (stage: Stage): Promise<Side> => {
    const [ours, bare] = [
      await inTurn(stage, await throughRedis(stage, tasksOf(stage))),
      await inTurn(stage, await bareWs(stage, tasksOf(stage))),
    ];
    const micros = async (drive: typeof ours) => {
      const { deliveries, serverCpu } = await drive();
      return (serverCpu / deliveries) * 1e6;
    };
    return async () => {
      const [service, ws] = [await micros(ours), await micros(bare)];
      return { figure: service / ws, 'µs of the service': service, 'µs of bare ws': ws };
    };
  };
}

function redisCpuInTurn(tasksOf: (stage: Stage) => number) {
  return async (stage: Stage): Promise<Side> => {
    const serving = await throughRedis(stage, tasksOf(stage));
    const drive = await inTurn(stage, serving);
    const redisCpu = () => redisCpuSeconds(serving.served.redis);
    return async () => {
      const before = await redisCpu();
      const { deliveries } = await drive();
      return { figure: (((await redisCpu()) - before) / deliveries) * 1e6 };
    };
  };
}

const manyTasks = ({ sizes }: Stage) => sizes.manyTasks;
const fewTasks = ({ sizes }: Stage) => sizes.tasks;

/** PostgreSQL and Redis connections of a replica with these subscribers, while it delivers events. */
function connectionsAt(subscribersOf: (stage: Stage) => number) {
  return async (stage: Stage): Promise<Side> => {
    const serving = await durably(stage);
    const swarm = await swarmOn(stage, serving, { subscribers: subscribersOf(stage) });
    // The limit of the pool: it opens connections on demand and keeps them for a minute.
    const warm = () => Promise.all(serving.taskIds.map((taskId) => fetch(`${serving.url}/api/v1/tasks/${taskId}`)));
    return async () => {
      await warm();
      const driving = driven(stage, serving, swarm, {});
      const { postgres, redis } = await connections(serving.served);
      await driving;
      return { figure: postgres + redis, 'to PostgreSQL': postgres, 'to Redis': redis };
    };
  };
}

export const SCALE: readonly Goal[] = [
  {
    name: 'G11',
    title: 'memory of an idle WebSocket subscriber',
    against: 'bare ws',
    unit: 'KiB',
    judged: 'figure',
    gate: { atMost: 16 },
    stretch: { atMost: 12 },
    ours: idleSubscribers(ofService, {}),
    yardstick: idleSubscribers(ofBareWs, {}),
  },
  {
    name: 'G11b',
    title: 'memory of an idle SSE subscriber',
    against: 'a bare http response',
    unit: 'KiB',
    judged: 'figure',
    gate: { atMost: 24 },
    stretch: { atMost: 18 },
    ours: idleSubscribers(ofService, { transport: 'sse' }),
    yardstick: idleSubscribers(ofBareWs, { transport: 'sse' }),
  },
  {
    name: 'G12',
    title: 'page of a log of 10⁶ events, p50',
    against: 'a log of 10² events',
    unit: 'ms',
    judged: 'ratio',
    gate: { atMost: 1.5 },
    stretch: { atMost: 1.2 },
    ours: replay(long),
    yardstick: replay(short),
  },
  {
    name: 'G12b',
    title: 'append to a log of 10⁶ events, p50',
    against: 'a log of 10² events',
    unit: 'ms',
    judged: 'ratio',
    gate: { atMost: 1.5 },
    stretch: { atMost: 1.2 },
    ours: appendTo(long),
    yardstick: appendTo(short),
  },
  {
    name: 'G13',
    title: '10 000 live tasks, CPU of a delivery',
    against: '100 live tasks',
    unit: 'times bare ws',
    judged: 'ratio',
    gate: { atMost: 1.5 },
    stretch: { atMost: 1.2 },
    ours: cpuInTurn(manyTasks),
    yardstick: cpuInTurn(fewTasks),
  },
  {
    name: 'G13b',
    title: '10 000 live tasks, CPU of Redis',
    against: '100 live tasks',
    unit: 'µs an event',
    judged: 'ratio',
    gate: { atMost: 1.5 },
    stretch: { atMost: 1.2 },
    ours: redisCpuInTurn(manyTasks),
    yardstick: redisCpuInTurn(fewTasks),
  },
  {
    name: 'G14',
    title: 'connections with 10 000 subscribers',
    against: '10 subscribers',
    unit: 'connections',
    judged: 'ratio',
    gate: { atMost: 1 },
    stretch: { atMost: 1 },
    ours: connectionsAt(({ sizes }) => sizes.idleSubscribers),
    yardstick: connectionsAt(() => 10),
  },
];
