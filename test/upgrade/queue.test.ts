import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Client, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { WorkerClient } from '../support/worker-client.js';
import { BUILD_MS } from './release-0.1.0.js';
import { Stage } from './stage.js';

const TASKS = 40;
const OLD_INDEXES = /^left 6 indexes of 0\.1\.0, which serves/m;

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start();
}, BUILD_MS);

afterAll(() => stage?.stop());

const indexes = () =>
  connected(stage.superuserUrl, async (db) => {
    const { rows } = await db.query<{ name: string }>(
      `SELECT indexname AS name FROM pg_indexes WHERE tablename = 'proj_tasks' AND indexname ~ '_(claimable|open|unattended)'`,
    );
    return rows.length;
  });

it('0.1.0 and this build claim from one queue, each task once, and neither starves', async () => {
  const old = await stage.replica('old');
  expect(await stage.migrate('new')).toMatch(OLD_INDEXES);
  const service = await stage.replica('new');
  const taskType = uniqueId('queue');
  const sides = [old, service].map(({ url }) => ({ owner: new Client(url, 'owner'), worker: new WorkerClient(url) }));
  const created: string[] = [];
  for (let n = 0; n < TASKS; n += 1) {
    const { owner } = sides[n % 2] ?? { owner: new Client(old.url, 'owner') };
    created.push((await owner.create({ clientRequestId: uniqueId(), taskType })).body.taskId);
  }
  const counts = [0, 0];
  const claimed: string[] = [];
  const work = async (side: number) => {
    const worker = sides[side]?.worker as WorkerClient;
    while (claimed.length < TASKS) {
      const { leases } = (await worker.claim({ taskTypes: [taskType], maxTasks: 2, waitTimeoutMs: 500 })).body;
      counts[side] = (counts[side] ?? 0) + leases.length;
      claimed.push(...leases.map(({ taskId }) => taskId));
    }
  };
  await Promise.all([work(0), work(1)]);
  expect(claimed.toSorted()).toEqual(created.toSorted());
  expect(Math.min(...counts)).toBeGreaterThan(0);

  // What one gives back, the other takes.
  for (const [giver, taker] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const own = uniqueId('back');
    const { taskId } = (await (sides[giver]?.owner as Client).create({ clientRequestId: uniqueId(), taskType: own }))
      .body;
    const [first] = (await (sides[giver]?.worker as WorkerClient).claim({ taskTypes: [own], waitTimeoutMs: 5_000 }))
      .body.leases;
    expect(
      (await (sides[giver]?.worker as WorkerClient).release({ taskId, leaseToken: first?.leaseToken ?? '' })).status,
    ).toBe(204);
    const [second] = (await (sides[taker]?.worker as WorkerClient).claim({ taskTypes: [own], waitTimeoutMs: 5_000 }))
      .body.leases;
    expect(second).toMatchObject({ taskId, attempt: 2 });
  }
  expect(await indexes()).toBe(5);
  await old.stop();
  expect(await stage.migrate('new')).toContain('dropped 6 indexes that only 0.1.0 needs\n');
  expect(await indexes()).toBe(0);
  await service.stop();
}, 120_000);
