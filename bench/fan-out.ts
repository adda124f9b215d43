import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Child } from './child.js';
import type { Finding, Side } from './goal.js';
import type { SourceKind } from './sources.js';
import type { Served, Stage } from './stage.js';
import type { Drive, Gathering } from './swarm-process.js';
import { runningTasks, waitingTasks } from './tasks.js';

/** A process that serves subscribers: the service or a yardstick. */
export interface Serving {
  readonly url: string;
  readonly source: SourceKind;
  readonly taskIds: readonly string[];
  /** The last event of each task at the beginning. */
  readonly head: number;
  cpuSeconds(): Promise<number>;
}

/** The service, fed through Redis as if another replica had committed. */
export async function throughRedis(stage: Stage, tasks = stage.sizes.tasks): Promise<Serving & { served: Served }> {
  const served = await stage.service();
  const taskIds = await waitingTasks(served, tasks);
  return { ...partOf(served), served, taskIds, head: 0, source: { kind: 'live log', url: served.redis.url } };
}

/** The service, whose handlers append: PostgreSQL stores an event before a subscriber gets it. */
export async function durably(stage: Stage, tasks = stage.sizes.tasks): Promise<Serving & { served: Served }> {
  const served = await stage.service();
  const taskIds = await runningTasks(served, tasks);
  return { ...partOf(served), served, taskIds, head: 1, source: { kind: 'control', path: served.control } };
}

export async function bareWs(
  stage: Stage,
  tasks = stage.sizes.tasks,
  history = 0,
): Promise<Serving & { child: Child }> {
  const child = stage.child('yardsticks/bare-ws.ts');
  const path = join(await stage.folder(), 'control');
  const taskIds = Array.from({ length: tasks }, () => randomUUID());
  const url = await child.call<string>('start', taskIds, path, history);
  return { ...partOf(child), child, url, taskIds, head: history, source: { kind: 'control', path } };
}

export async function ancestor(stage: Stage): Promise<Serving> {
  const child = stage.child('yardsticks/ancestor.ts');
  const redis = await stage.redis();
  const taskIds = Array.from({ length: stage.sizes.tasks }, () => randomUUID());
  const url = await child.call<string>('start', redis.url);
  return { ...partOf(child), url, taskIds, head: 0, source: { kind: 'streams', url: redis.url } };
}

function partOf<P extends Pick<Serving, 'cpuSeconds'> & { url?: string }>(process: P) {
  return { url: process.url ?? '', cpuSeconds: () => process.cpuSeconds() };
}

/** Its own load generator, whose subscribers have all stored events. */
export async function swarmOn(stage: Stage, serving: Serving, gathering: Partial<Gathering> = {}): Promise<Child> {
  const swarm = stage.child('swarm-process.ts');
  const { url, taskIds, head, source } = serving;
  const { subscribers } = stage.sizes;
  await swarm.call('gather', { url, taskIds, head, source, subscribers, transport: 'websocket', ...gathering });
  return swarm;
}

/** Deliveries a second, with the server's CPU for one delivery, and the load of both sides. */
export function deliveryRate(stage: Stage, serving: Serving, swarm: Child, drive: Partial<Drive> = {}): Side {
  return async () => {
    const { deliveries, seconds, serverCpu, swarmCpu } = await driven(stage, serving, swarm, drive);
    return {
      figure: deliveries / seconds,
      'µs of CPU a delivery': (serverCpu / deliveries) * 1e6,
      'server busy': serverCpu / seconds,
      'generator busy': swarmCpu / seconds,
    } satisfies Finding;
  };
}

export async function driven(stage: Stage, serving: Serving, swarm: Child, drive: Partial<Drive>) {
  const before = [await serving.cpuSeconds(), await swarm.cpuSeconds()] as const;
  const asked = { seconds: stage.sizes.seconds, ...drive };
  const outcome = await swarm.call<{ deliveries: number; seconds: number }>('drive', asked);
  const [serverCpu, swarmCpu] = [await serving.cpuSeconds(), await swarm.cpuSeconds()];
  return { ...outcome, serverCpu: serverCpu - before[0], swarmCpu: swarmCpu - before[1] };
}
