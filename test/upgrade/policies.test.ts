import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Client, newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { eventually, type Service } from '../support/service.js';
import { type Lease, WorkerClient } from '../support/worker-client.js';
import { BUILD_MS } from './release-0.1.0.js';
import { Stage } from './stage.js';

const full = process.env['FULL'] === '1';
const TASKS = full ? 400 : 60;
const LIMIT = 3;

const POLICIES = {
  'mixed.total': { maxRunning: LIMIT },
  'mixed.owner': { maxRunningPerOwner: 1 },
  'mixed.load': { maxRunning: LIMIT, maxRunningPerOwner: 2, concurrencyKey: '/input/key' },
  'mixed.late': { scheduleToStartSeconds: 1 },
};

let stage: Stage;
let [old, service]: Service[] = [];

beforeAll(async () => {
  stage = await Stage.start();
  await stage.migrate('new');
  old = await stage.replica('old');
  service = await stage.replica('new', { TASK_TYPES: JSON.stringify(POLICIES) });
}, BUILD_MS);

afterAll(async () => {
  await Promise.all([old?.stop(), service?.stop()]);
  await stage?.stop();
});

const url = (replica: Service | undefined) => replica?.url ?? '';
const create = async (by: Client, taskType: string, input: Record<string, unknown> = {}) =>
  (await by.create({ clientRequestId: uniqueId(), taskType, input })).body.taskId;
const claim = async (worker: WorkerClient, taskType: string, maxTasks: number): Promise<readonly Lease[]> =>
  (await worker.claim({ taskTypes: [taskType], maxTasks, waitTimeoutMs: 1_500 })).body.leases;
const waitingFor = async (by: Client, taskId: string) =>
  ((await by.snapshot(taskId)).body as { readonly waitingFor?: string }).waitingFor;

it('0.1.0 leases without limits; its leases count, and what they hold back goes on when they end', async () => {
  const owner = newPrincipal(url(service));
  const [theirs, ours] = [new WorkerClient(url(old)), new WorkerClient(url(service))];
  for (const [taskType, limit, reason] of [
    ['mixed.total', LIMIT, 'concurrency'],
    ['mixed.owner', 1, 'concurrency'],
  ] as const) {
    for (let n = 0; n < limit; n += 1) await create(owner, taskType);
    const held = await claim(theirs, taskType, limit);
    expect(held).toHaveLength(limit);
    const next = await create(owner, taskType);
    expect(await claim(ours, taskType, 1)).toEqual([]);
    expect(await waitingFor(owner, next)).toBe(reason);
    await theirs.complete(held[0] as Lease);
    const [lease] = await claim(ours, taskType, limit);
    expect(lease?.taskId).toBe(next);
    for (const rest of [...held.slice(1), lease]) await ours.complete(rest as Lease);
  }
});

it('a deadline ends a task while 0.1.0 runs', async () => {
  const owner = newPrincipal(url(service));
  const taskId = await create(owner, 'mixed.late');
  await eventually('it is over', async () => (await owner.snapshot(taskId)).body.status === 'FAILED');
});

it(
  'both work off one queue with limits, each task once, and this build begins none beyond them',
  async () => {
    const owners = [url(old), url(service)].flatMap((at) => [1, 2].map((n) => new Client(at, `owner-${n}`)));
    const created: string[] = [];
    for (let n = 0; n < TASKS; n += 1)
      created.push(await create(owners[n % owners.length] as Client, 'mixed.load', { key: `k${n % 5}` }));
    const completed: string[] = [];
    // More than the limit, and none of its leases ends meanwhile: so the other side has to stand still.
    const theirs = new WorkerClient(url(old));
    const ours = new WorkerClient(url(service));
    const many = (await theirs.claim({ taskTypes: ['mixed.load'], maxTasks: LIMIT + 2 })).body.leases;
    expect(many).toHaveLength(LIMIT + 2);
    expect(await claim(ours, 'mixed.load', 5)).toEqual([]);
    for (const lease of many) {
      await theirs.complete(lease);
      completed.push(lease.taskId);
    }
    const counts = { old: 0, new: 0 };
    const work = async (side: keyof typeof counts, worker: WorkerClient, atMost: number) => {
      while (completed.length < TASKS) {
        const leases = await claim(worker, 'mixed.load', atMost);
        if (side === 'new') expect(leases.length).toBeLessThanOrEqual(LIMIT);
        for (const lease of leases) {
          await delay(2);
          if ((await worker.complete(lease)).status !== 200) continue;
          counts[side] += 1;
          completed.push(lease.taskId);
        }
      }
    };
    // Each has a share, however fast the other one is.
    for (const [side, worker] of [
      ['new', ours],
      ['old', theirs],
    ] as const) {
      const [lease] = await eventually(`${side} has a task`, async () => {
        const leases = await claim(worker, 'mixed.load', 1);
        return leases.length > 0 && leases;
      });
      if (!lease || (await worker.complete(lease)).status !== 200) continue;
      counts[side] += 1;
      completed.push(lease.taskId);
    }
    await Promise.all([work('old', theirs, 1), work('new', ours, 5)]);
    expect(completed.toSorted()).toEqual(created.toSorted());
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(0);
    const left = await connected(stage.superuserUrl, async (db) => {
      const text = `SELECT count(*)::int AS n FROM taskbridge.proj_tasks WHERE finished_at IS NULL`;
      return (await db.query<{ n: number }>(text)).rows[0]?.n;
    });
    expect(left).toBe(0);
  },
  full ? 300_000 : 90_000,
);

it('a pause keeps this build from leasing, and 0.1.0 does not know it', async () => {
  const owner = newPrincipal(url(service));
  const operator = new Client(url(service));
  const taskType = uniqueId('paused');
  const path = `/api/v1/task-types/${taskType}/pause`;
  const taskId = await create(owner, taskType);
  expect(
    (await operator.request('PUT', path, { headers: { 'Content-Type': 'application/json' }, body: '{"reason":"r"}' }))
      .status,
  ).toBe(200);
  const [theirs, ours] = [new WorkerClient(url(old)), new WorkerClient(url(service))];
  expect(await claim(ours, taskType, 1)).toEqual([]);
  const [lease] = await claim(theirs, taskType, 1);
  expect(lease?.taskId).toBe(taskId);
  await theirs.complete(lease as Lease);
  await operator.request('DELETE', path);
});
