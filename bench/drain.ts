import type { Client } from 'pg';
import { connected } from '../test/support/fold.js';
import type { TestDatabase } from '../test/support/postgres.js';
import { eventually } from '../test/support/service.js';
import { callControl } from './control.js';
import type { Finding, Side } from './goal.js';
import { insertWaiting, settle } from './queue-rows.js';
import type { Stage } from './stage.js';
import { redisCpuSeconds } from './usage.js';
import { written } from './written.js';

// The drain of a backlog of empty tasks: by a replica, by remote workers, and by the peers.

/** Tasks of the drain that warms a side up. */
const WARM = 2_000;
/** As `.env.example` has it. */
export const INLINE_CONCURRENCY = 50;

interface Meters {
  /** Seconds of CPU of the queue's own process, and of the server that has its data. */
  readonly queue: () => Promise<number>;
  readonly store: () => Promise<number>;
  /** The database, where it is PostgreSQL. */
  readonly database?: TestDatabase;
}

/** Tasks a second, with the CPU of one task. */
async function drainRate(
  tasks: number,
  { queue, store, database }: Meters,
  drain: () => Promise<number>,
): Promise<Finding> {
  const writtenBefore = database && (await written(database));
  const before = [await queue(), await store()] as const;
  const seconds = await drain();
  const [queueCpu, storeCpu] = [(await queue()) - before[0], (await store()) - before[1]];
  const after = database && (await written(database));
  return {
    figure: tasks / seconds,
    'µs of CPU a task': (queueCpu / tasks) * 1e6,
    'µs of CPU of its database a task': (storeCpu / tasks) * 1e6,
    ...(writtenBefore &&
      after && {
        'commits a task': (after.commits - writtenBefore.commits) / tasks,
        'bytes of WAL a task': (after.walBytes - writtenBefore.walBytes) / tasks,
      }),
  };
}

/** Seconds from `start` to the end of the last task. */
async function drained(db: Client, taskType: string, start: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await start();
  await eventually('all tasks are over', async () => (await unfinished(db, taskType)) === 0, 10_000);
  return (performance.now() - startedAt) / 1000;
}

/** Void where a task did not complete, or completed twice. */
async function check(db: Client, taskType: string): Promise<void> {
  const { rows } = await db.query<{ tasks: number; completed: number; ends: number }>(
    `SELECT count(*)::int AS tasks, count(*) FILTER (WHERE status = 'COMPLETED')::int AS completed,
      (SELECT count(*)::int FROM taskbridge.events e JOIN taskbridge.proj_tasks t USING (task_id)
        WHERE t.task_type = $1 AND e.type = 'TASK_COMPLETED') AS ends
    FROM taskbridge.proj_tasks WHERE task_type = $1`,
    [taskType],
  );
  const { tasks, completed, ends } = rows[0] ?? { tasks: 0, completed: -1, ends: -1 };
  if (completed !== tasks || ends !== tasks) throw new Error(`${completed} of ${tasks} tasks completed, ${ends} times`);
}

async function unfinished(db: Client, taskType: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    'SELECT count(*)::int AS count FROM taskbridge.proj_tasks WHERE finished_at IS NULL AND task_type = $1',
    [taskType],
  );
  return rows[0]?.count ?? 0;
}

/**
 * One replica, whose slots are taken until all tasks are there: so the clock starts when it begins, and it is warm.
 */
export async function byReplica(stage: Stage, env: Readonly<Record<string, string>> = {}): Promise<Side> {
  const served = await stage.service({ INLINE_CONCURRENCY: String(INLINE_CONCURRENCY), ...env });
  const { database } = served;
  const meters = { queue: () => served.cpuSeconds(), store: () => stage.postgresCpuSeconds(database), database };
  const drain = (backlog: number) =>
    connected(database.superuserUrl, async (db) => {
      await insertWaiting(db, { taskType: 'bench.plug', count: INLINE_CONCURRENCY, owners: 1 });
      const plugs = async () => (await callControl(served, 'plugs')) === INLINE_CONCURRENCY;
      await eventually('the slots are taken', plugs, 20_000);
      await insertWaiting(db, { taskType: 'bench.empty', count: backlog, owners: stage.sizes.owners });
      await settle(db);
      const start = () => callControl(served, 'drain', { count: backlog });
      const finding = await drainRate(backlog, meters, () => drained(db, 'bench.empty', start));
      await check(db, 'bench.empty');
      return finding;
    });
  return warm(stage, drain);
}

async function warm({ sizes: { backlog } }: Stage, drain: (backlog: number) => Promise<Finding>): Promise<Side> {
  await drain(Math.min(WARM, backlog));
  return () => drain(backlog);
}

/** A peer with PostgreSQL. */
export function byPeer(program: string, settings: object) {
  return async (stage: Stage): Promise<Side> => {
    const database = await stage.database();
    const peer = await stage.peer(program);
    await peer.call('start', database.ownerUrl, settings);
    return warm(stage, async (backlog) => {
      await peer.call('fill', backlog);
      await connected(database.superuserUrl, (db) => db.query('VACUUM (ANALYZE)'));
      const meters = { queue: () => peer.cpuSeconds(), store: () => stage.postgresCpuSeconds(database), database };
      return drainRate(backlog, meters, () => peer.call<number>('drain', backlog));
    });
  };
}

/** A peer with Redis. */
export function byRedisPeer(program: string, settings: object, redisSettings: Readonly<Record<string, string>>) {
  return async (stage: Stage): Promise<Side> => {
    const redis = await stage.redis();
    for (const [name, value] of Object.entries(redisSettings)) await redis.cli('CONFIG', 'SET', name, value);
    // The first file of a Redis that has none is written in the background.
    await eventually('Redis writes its file', async () => {
      const info = String(await redis.cli('INFO', 'persistence'));
      return /aof_enabled:1/.test(info) && /aof_rewrite_in_progress:0/.test(info);
    });
    const peer = await stage.peer(program);
    await peer.call('start', redis.url, settings);
    const store = () => redisCpuSeconds(redis);
    return warm(stage, async (backlog) => {
      await peer.call('fill', backlog);
      const meters = { queue: () => peer.cpuSeconds(), store };
      return drainRate(backlog, meters, () => peer.call<number>('drain', backlog));
    });
  };
}

/** A process with remote workers of the SDK. */
export async function byRemoteWorkers(stage: Stage, env: Readonly<Record<string, string>> = {}): Promise<Side> {
  const { url, database, cpuSeconds } = await stage.service(env);
  const worker = stage.child('worker-process.ts');
  const tasks = stage.sizes.remoteTasks;
  const side = () =>
    connected(database.superuserUrl, async (db) => {
      await insertWaiting(db, { taskType: 'bench.wait', count: tasks, owners: stage.sizes.owners });
      await settle(db);
      const workerCpu = await worker.cpuSeconds();
      const meters = { queue: cpuSeconds, store: () => stage.postgresCpuSeconds(database), database };
      const finding = await drainRate(tasks, meters, () =>
        drained(db, 'bench.wait', () => worker.call('drain', url, tasks)),
      );
      await check(db, 'bench.wait');
      await worker.call('stop');
      return {
        ...finding,
        'µs of CPU of the worker a task': (((await worker.cpuSeconds()) - workerCpu) / tasks) * 1e6,
      };
    });
  await side();
  return side;
}
