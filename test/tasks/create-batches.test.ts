import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import { CreateQueue } from '../../src/tasks/create-queue.js';
import { TooMuchWaiting } from '../../src/tasks/domain/tasks.errors.js';
import type { InsertOutcome } from '../../src/tasks/store/first-attempts.js';
import { insertTask, type NewTaskRow } from '../../src/tasks/store/insert-task.js';
import { isTaskId } from '../../src/tasks/domain/task-id.js';
import { insertTasks } from '../../src/tasks/store/insert-tasks.js';
import { newPrincipal, uniqueId } from '../support/client.js';
import { aTask } from '../support/new-task.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService } from '../support/service.js';

const idsOf = (outcomes: readonly InsertOutcome[]) =>
  outcomes.map((outcome) => (outcome.outcome === 'inserted' ? outcome.taskId : 'none'));
const words = (outcomes: readonly InsertOutcome[]) => outcomes.map(({ outcome }) => outcome);

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = new Database(createPool(testDatabase.appUrl, { max: 4 }));
});

afterAll(async () => {
  await database.stop();
  await testDatabase.drop();
});

describe('A batch of new tasks', () => {
  let owner: { readonly tenantId: string; readonly ownerId: string };

  beforeEach(() => {
    owner = { tenantId: uniqueId('tenant'), ownerId: uniqueId('owner') };
  });

  it('has of equal requests one, and passes over those that are there', async () => {
    const earlier = aTask(owner);
    await insertTask(database, earlier, null);
    const twin = aTask(owner);
    const batch = [aTask({ ...earlier, taskId: uuidv7() }), twin, { ...twin, taskId: uuidv7() }, aTask(owner)];
    const outcomes = words(await insertTasks(database, batch, null));
    expect([outcomes[0], outcomes[3]]).toEqual(['passed_over', 'inserted']);
    expect([outcomes[1], outcomes[2]].sort()).toEqual(['inserted', 'passed_over']);
  });

  it('keeps each task with its own story, content and owner', async () => {
    const batch = [
      aTask({ ...owner, inputJson: null, metadataJson: '{"b":"é"}' }),
      aTask({ ...owner, ownerId: uniqueId('other'), inputJson: '{"x" : [1,  2]}', correlationId: uuidv7() }),
    ];
    const ids = idsOf(await insertTasks(database, batch, null));
    const rows = await rowsOf(ids);
    expect(rows).toEqual(
      batch.map(
        ({ tenantId, ownerId, clientRequestId, inputJson, metadataJson, correlationId, traceparent }, index) => ({
          task_id: ids[index],
          ...{ tenant_id: tenantId, owner_id: ownerId, client_request_id: clientRequestId, fingerprint: 'fingerprint' },
          ...{
            task_type: 'test.any',
            input: inputJson,
            metadata: metadataJson,
            correlation_id: correlationId,
            traceparent,
          },
          ...{ status: 'ACCEPTED', is_claimable: true },
        }),
      ),
    );
  });

  it('gives ids in the order of the database clock, also when the clocks of processes are two hours off', async () => {
    const hours = (n: number) => ({ msecs: Date.now() + n * 3_600_000 });
    const beganAt = await databaseMs();
    const ids: string[] = [];
    for (const off of [2, -2, 0, 2, -2]) {
      const rows = [aTask({ ...owner, taskId: uuidv7(hours(off)) }), aTask({ ...owner, taskId: uuidv7(hours(-off)) })];
      ids.push(...idsOf(await insertTasks(database, rows, null)).sort());
      await delay(2);
      ids.push(...idsOf([await insertTask(database, aTask({ ...owner, taskId: uuidv7(hours(off)) }), null)]));
      await delay(2);
    }
    const endedAt = await databaseMs();
    expect(ids).toEqual([...ids].sort());
    expect(ids.filter(isTaskId)).toHaveLength(15);
    for (const id of ids) {
      const ms = Number.parseInt(id.replace('-', '').slice(0, 12), 16);
      expect(ms).toBeGreaterThanOrEqual(beganAt - 1);
      expect(ms).toBeLessThanOrEqual(endedAt + 1);
    }
  });

  it('does to the tasks of several owners, under any cap, what one statement each would do', async () => {
    const batch = fc.record({
      cap: fc.option(fc.integer({ min: 1, max: 4 }), { nil: null }),
      before: fc.array(fc.tuple(fc.nat(1), fc.nat(6)), { maxLength: 4 }),
      tasks: fc.array(fc.tuple(fc.nat(1), fc.nat(6)), { minLength: 2, maxLength: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(batch, async ({ cap, before, tasks }) => {
        const inserted = async (insert: (rows: readonly NewTaskRow[]) => Promise<unknown>) => {
          const tenantId = uniqueId('tenant');
          const rowOf = ([whose, key]: [number, number]) =>
            aTask({ tenantId, ownerId: `owner-${whose}`, clientRequestId: `key-${key}` });
          for (const row of before.map(rowOf)) await insertTask(database, row, null);
          await insert(tasks.map(rowOf));
          return keysOf(tenantId);
        };
        const oneByOne = async (rows: readonly NewTaskRow[]) => {
          const inOrder = [...rows].sort((a, b) => (a.clientRequestId < b.clientRequestId ? -1 : 1));
          for (const row of inOrder) await insertTask(database, row, cap);
        };
        expect(await inserted((rows) => insertTasks(database, rows, cap))).toEqual(await inserted(oneByOne));
      }),
      { numRuns: 60 },
    );
  });

  it('never waits for another that has the same keys in another order', async () => {
    const keys = Array.from({ length: 50 }, () => uniqueId());
    const batchOf = (order: readonly string[]) => order.map((clientRequestId) => aTask({ ...owner, clientRequestId }));
    const batches = Array.from({ length: 8 }, (_, n) => batchOf(n % 2 === 0 ? keys : keys.toReversed()));
    const outcomes = await Promise.all(batches.map((batch) => insertTasks(database, batch, null)));
    expect(outcomes.flatMap(words).filter((word) => word === 'inserted')).toHaveLength(keys.length);
    expect(await deadlocks()).toBe(0);
  });

  async function databaseMs(): Promise<number> {
    const [row] = (await asSuperuser('SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS ms', [])) as [
      { ms: number },
    ];
    return row.ms;
  }

  async function rowsOf(taskIds: readonly string[]) {
    return asSuperuser(
      `SELECT task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input::text, metadata::text, correlation_id,
        traceparent, status, claimable_at <= clock_timestamp() AS is_claimable
      FROM taskbridge.proj_tasks WHERE task_id = ANY ($1) ORDER BY array_position($1, task_id)`,
      [taskIds],
    );
  }

  async function keysOf(tenantId: string) {
    return asSuperuser(
      'SELECT owner_id, client_request_id FROM taskbridge.proj_tasks WHERE tenant_id = $1 ORDER BY 1, 2',
      [tenantId],
    );
  }

  async function deadlocks(): Promise<number> {
    const [row] = await asSuperuser('SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()', []);
    return Number((row as { deadlocks: string }).deadlocks);
  }

  async function asSuperuser(text: string, values: readonly unknown[]): Promise<readonly object[]> {
    const client = new pg.Client({ connectionString: testDatabase.superuserUrl });
    await client.connect();
    try {
      return (await client.query<object>(text, [...values])).rows;
    } finally {
      await client.end();
    }
  }
});

describe('The queue of new tasks', () => {
  it('takes in 5 000 small tasks and refuses more, while PostgreSQL is at work', async () => {
    const queue = new CreateQueue(() => new Promise(() => {}));
    void queue.push(aTask());
    // The first one is on its way, and waits no more.
    await new Promise(setImmediate);
    for (let n = 0; n < 5_000; n += 1) void queue.push(aTask());
    await expect((async () => queue.push(aTask()))()).rejects.toBeInstanceOf(TooMuchWaiting);
  });

  it('takes in no more bytes than that, however few tasks they are', async () => {
    const queue = new CreateQueue(() => new Promise(() => {}));
    const large = () => aTask({ inputJson: JSON.stringify('x'.repeat(1024 * 1024)) });
    void queue.push(large());
    await new Promise(setImmediate);
    for (let n = 0; n < 19; n += 1) void queue.push(large());
    await expect((async () => queue.push(large()))()).rejects.toBeInstanceOf(TooMuchWaiting);
  });
});

describe('One replica', () => {
  let service: Service;

  beforeAll(async () => {
    const env = {
      DATABASE_URL: testDatabase.appUrl,
      DATABASE_POOL_MAX: '4',
      EXECUTOR: 'inline',
      INLINE_CONCURRENCY: '1',
    };
    service = await startService(env, { lifetime: 'file' });
  });

  it('accepts 1 500 different creates at once, and the same again', async () => {
    const client = newPrincipal(service.url);
    const bodies = Array.from({ length: 1_500 }, () => ({ clientRequestId: uniqueId(), taskType: 'demo.sleep' }));
    const all = () => Promise.all(bodies.map((body) => client.create(body)));
    const created = await all();
    expect(new Set(created.map(({ status }) => status))).toEqual(new Set([201]));
    const repeated = await all();
    expect(new Set(repeated.map(({ status }) => status))).toEqual(new Set([200]));
    expect(repeated.map(({ body }) => body.taskId)).toEqual(created.map(({ body }) => body.taskId));
  }, 120_000);
});
