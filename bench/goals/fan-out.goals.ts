import { ancestor, bareWs, deliveryRate, driven, durably, type Serving, swarmOn, throughRedis } from '../fan-out.js';
import type { Goal, Side } from '../goal.js';
import type { Stage } from '../stage.js';
import type { Drive, Gathering } from '../swarm-process.js';

const rate = { unit: 'deliveries/s', judged: 'ratio' } as const;

/** Deliveries a second of a server, with a client for it. */
function of(serve: (stage: Stage) => Promise<Serving>, gathering: Partial<Gathering> = {}, burst = (_: Stage) => 1) {
  return async (stage: Stage): Promise<Side> => {
    const serving = await serve(stage);
    const swarm = await swarmOn(stage, serving, gathering);
    const side = deliveryRate(stage, serving, swarm, { burst: burst(stage) });
    await side();
    return side;
  };
}

const inBursts = ({ sizes }: Stage) => sizes.burst;

/** Server CPU of one event for one more subscriber: the difference between many subscribers of a task and a tenth of them. */
function oneMore(serve: (stage: Stage, tasks: number) => Promise<Serving>) {
  return async (stage: Stage): Promise<Side> => {
    const serving = await serve(stage, 2);
    const many = stage.sizes.subscribers;
    const few = Math.ceil(many / 10);
    const swarms = [many, few].map((subscribers, at) => {
      const taskIds = serving.taskIds.slice(at, at + 1);
      return swarmOn(stage, { ...serving, taskIds, source: sourceOf(serving, at) }, { subscribers });
    });
    const [ofMany, ofFew] = (await Promise.all(swarms)) as [Awaited<(typeof swarms)[0]>, Awaited<(typeof swarms)[0]>];
    const cpuOfEvent = async (swarm: typeof ofMany, subscribers: number, drive: Partial<Drive> = {}) => {
      const { deliveries, serverCpu } = await driven(stage, serving, swarm, drive);
      return (serverCpu * subscribers) / deliveries;
    };
    const side = async () => {
      const [manyCpu, fewCpu] = [await cpuOfEvent(ofMany, many), await cpuOfEvent(ofFew, few)];
      return { figure: ((manyCpu - fewCpu) / (many - few)) * 1e6 };
    };
    await side();
    return side;
  };
}

/** A swarm numbers its tasks from 0. */
function sourceOf({ source }: Serving, offset: number): Serving['source'] {
  return source.kind === 'control' ? { ...source, offset } : source;
}

export const FAN_OUT: readonly Goal[] = [
  {
    name: 'G1',
    title: 'fan-out through Redis, steady',
    against: 'bare ws',
    ...rate,
    gate: { atLeast: 0.7 },
    stretch: { atLeast: 0.85 },
    ours: of(throughRedis),
    yardstick: of(bareWs),
  },
  {
    name: 'G2',
    title: 'fan-out through Redis, in bursts',
    against: 'bare ws',
    ...rate,
    gate: { atLeast: 2 },
    stretch: { atLeast: 3 },
    ours: of(throughRedis, {}, inBursts),
    yardstick: of(bareWs, {}, inBursts),
  },
  {
    name: 'G3',
    title: 'append to PostgreSQL to socket',
    against: 'bare ws',
    ...rate,
    gate: { atLeast: 0.5 },
    stretch: { atLeast: 0.65 },
    ours: of(durably),
    yardstick: of(bareWs),
  },
  {
    name: 'G4',
    title: 'fan-out through Redis, steady',
    against: 'XREAD and encode per subscriber',
    ...rate,
    gate: { atLeast: 1.8 },
    ours: of(throughRedis),
    yardstick: of(ancestor),
  },
  {
    name: 'G4b',
    title: 'fan-out through Redis, in bursts',
    against: 'XREAD and encode per subscriber',
    ...rate,
    gate: { atLeast: 1.8 },
    stretch: { atLeast: 6 },
    ours: of(throughRedis, {}, inBursts),
    yardstick: of(ancestor, {}, inBursts),
  },
  {
    name: 'G5',
    title: 'one more subscriber of the same task',
    against: 'bare ws',
    unit: 'µs of CPU an event',
    judged: 'ratio',
    gate: { atMost: 1.3 },
    stretch: { atMost: 1.1 },
    ours: oneMore(throughRedis),
    yardstick: oneMore(bareWs),
  },
  {
    name: 'G6',
    title: 'fan-out over SSE, steady',
    against: 'our WebSocket',
    ...rate,
    gate: { atLeast: 0.8 },
    stretch: { atLeast: 1 },
    ours: of(throughRedis, { transport: 'sse' }),
    yardstick: of(throughRedis),
  },
];
