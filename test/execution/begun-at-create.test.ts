import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import type { TaskHandler } from '#handler/task-handler.js';
import { InlineWorker } from '../../src/execution/inline/inline-worker.js';
import { CancelTask } from '../../src/tasks/cancel-task.js';
import { BACKOFF, decide } from '../../src/tasks/domain/decide.js';
import { NEW_TASK } from '../../src/tasks/domain/task.js';
import { EndLostAttempts } from '../../src/tasks/end-lost-attempts.js';
import { insertTasks } from '../../src/tasks/store/insert-tasks.js';
import { keepCounts } from '../../src/tasks/store/keep-up.js';
import { lockTask } from '../../src/tasks/store/lock-tasks.js';
import { readEvents } from '../../src/tasks/store/read-events.js';
import { SubmitTask } from '../../src/tasks/submit-task.js';
import { uniqueId } from '../support/client.js';
import { checkInvariants } from '../support/fold.js';
import { aTask } from '../support/new-task.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { createReplica, OWNER, type Replica, type ReplicaOptions, waitingTask } from '../support/replica.js';
import { eventually } from '../support/service.js';

const TYPE = 'test.begun';
const RULES = { backoff: BACKOFF, maxAttempts: 3, maxEventsPerTask: 9, jitter: 0, now: 0 };
const HOLDER = { workerId: 'inline:test', principalId: 'system', leaseSeconds: 30, limits: null };

let test: TestDatabase;
let superuser: pg.Client;
const replicas: Replica[] = [];

beforeAll(async () => {
  test = await createTestDatabase();
  superuser = new pg.Client({ connectionString: test.superuserUrl });
  await superuser.connect();
});

beforeEach(async () => {
  await superuser.query('TRUNCATE taskbridge.events, taskbridge.proj_tasks');
});

afterEach(async () => {
  await Promise.all(replicas.splice(0).map((replica) => replica.stop()));
  await checkInvariants(test.superuserUrl);
});

afterAll(async () => {
  await superuser.end();
  await test.drop();
});

async function replicaWith(handler: TaskHandler, options: ReplicaOptions & { url?: string } = {}): Promise<Replica> {
  const replica = await createReplica(options.url ?? test.appUrl, { ...options, handlers: { [TYPE]: handler } });
  replicas.push(replica);
  return replica;
}

async function workerWith(handler: TaskHandler, options: ReplicaOptions & { url?: string } = {}): Promise<Replica> {
  const replica = await replicaWith(handler, options);
  replica.startWorker();
  return replica;
}

const create = (replica: Replica, clientRequestId = uniqueId(), taskType = TYPE) =>
  replica.get(SubmitTask).execute(OWNER, { clientRequestId, taskType });

const untilStopped: TaskHandler = (_input, { signal }) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));

interface Row {
  readonly status: string;
  readonly attempt: number;
  readonly revision: number;
  readonly worker_id: string | null;
  readonly is_leased: boolean;
}

async function rowOf(taskId: string): Promise<Row> {
  const { rows } = await superuser.query<Row>(
    `SELECT status, attempt, revision::int, worker_id, lease_token IS NOT NULL AS is_leased
     FROM taskbridge.proj_tasks WHERE task_id = $1`,
    [taskId],
  );
  return rows[0] as Row;
}

async function typesOf(taskId: string): Promise<readonly string[]> {
  const sql = 'SELECT type FROM taskbridge.events WHERE task_id = $1 ORDER BY event_id';
  return (await superuser.query<{ type: string }>(sql, [taskId])).rows.map(({ type }) => type);
}

const ends = (taskId: string) =>
  eventually('the task completes', async () => (await rowOf(taskId)).status === 'COMPLETED');

/** How many transactions have written tasks of this type. */
async function transactionsOf(taskIds: readonly string[]): Promise<number> {
  const sql = 'SELECT count(DISTINCT xmin::text)::int AS n FROM taskbridge.events WHERE task_id = ANY ($1)';
  return (await superuser.query<{ n: number }>(sql, [taskIds])).rows[0]?.n ?? 0;
}

describe('A batch of new tasks', () => {
  const asked = fc.record({ type: fc.nat(2), owner: fc.nat(1), hasPlace: fc.boolean(), isTaken: fc.boolean() });
  const waiting = fc.record({ type: fc.nat(2), state: fc.constantFrom('waiting', 'later', 'unplaced', 'leased') });

  it('begins exactly what has a place and nothing of its type before it, and as `decide` says of its claim', async () => {
    const { database } = await replicaWith(() => null);
    await fc.assert(
      fc.asyncProperty(
        fc.array(asked, { minLength: 1, maxLength: 6 }),
        fc.oneof(fc.constant([]), fc.array(waiting, { maxLength: 3 })),
        async (batch, others) => {
          await superuser.query('TRUNCATE taskbridge.events, taskbridge.proj_tasks');
          const types = Array.from({ length: 3 }, (_, n) => uniqueId(`type-${n}`));
          for (const { type, state } of others) {
            const taskId = await waitingTask(database, types[type]);
            if (state === 'later') await superuser.query(LATER, [taskId]);
            if (state === 'unplaced') await superuser.query(UNPLACED, [taskId]);
            if (state === 'leased') await superuser.query(LEASED, [taskId]);
          }
          const tasks = batch.map(({ type, owner, hasPlace }, n) => ({
            ...aTask({ taskType: types[type] as string, ownerId: `owner-${owner}` }),
            ...(hasPlace && { leaseToken: `1.secret-${n}` }),
          }));
          for (const [n, { isTaken }] of batch.entries()) {
            if (isTaken) await insertTasks(database, [{ ...(tasks[n] as (typeof tasks)[0]), taskId: uuidv7() }], null);
          }
          // A task of the same request waits, too.
          const waits = new Set([
            ...others.filter(({ state }) => state === 'waiting').map(({ type }) => type),
            ...batch.filter(({ isTaken }) => isTaken).map(({ type }) => type),
          ]);
          const isDue = others.some(({ state }) => state === 'unplaced');

          const outcomes = await insertTasks(database, tasks, null, HOLDER);
          for (const [n, outcome] of outcomes.entries()) {
            const { isTaken, hasPlace, type } = batch[n] as (typeof batch)[0];
            expect(outcome.outcome).toBe(isTaken ? 'passed_over' : 'inserted');
            if (outcome.outcome === 'passed_over') continue;
            const begins = hasPlace && !waits.has(type) && !isDue;
            const [record] = await lockTask(database, outcome.taskId);
            const claim = { kind: 'claim', token: `1.secret-${n}` } as const;
            const decision = begins ? decide(NEW_TASK, claim, RULES) : { task: NEW_TASK, events: [] };
            expect(record).toMatchObject({ flaw: null, workerId: begins ? HOLDER.workerId : null });
            expect(record?.task).toEqual(decision.task);
            const events = await readEvents(database, outcome.taskId, 0, 10);
            expect(events.map(({ type: stored, payloadJson }) => [stored, payloadJson])).toEqual(
              decision.events.map(({ type: decided, json }) => [decided, json]),
            );
            expect(outcome.begun?.startedAt).toBe(events[0]?.createdAt);
          }
        },
      ),
      { numRuns: process.env['FULL'] === '1' ? 500 : 50 },
    );
  });
});

describe('A new task', () => {
  it('is stored as claimed where its handler may begin, and the answer is that of every create', async () => {
    const replica = await workerWith(() => null);
    const requestId = uniqueId();
    const created = await create(replica, requestId);
    expect(created).toMatchObject({ status: 'ACCEPTED', deduplicated: false });
    await ends(created.taskId);
    // One version of its row less than with a claim: the create, and the end.
    expect(await rowOf(created.taskId)).toMatchObject({ attempt: 1, revision: 1, is_leased: false });
    expect(await typesOf(created.taskId)).toEqual(['TASK_STARTED', 'TASK_COMPLETED']);
    expect(await create(replica, requestId)).toEqual({ ...created, status: 'COMPLETED', deduplicated: true });
  });

  it('counts as running until it ends', async () => {
    const gate = Promise.withResolvers<null>();
    const replica = await workerWith(() => gate.promise);
    const { taskId } = await create(replica);
    const countOf = async (status: string) => {
      await keepCounts(replica.database);
      const sql = `SELECT coalesce(sum(n), 0)::int AS n FROM taskbridge.proj_task_counts WHERE task_type = $1 AND status = $2`;
      return (await superuser.query<{ n: number }>(sql, [TYPE, status])).rows[0]?.n;
    };
    const [running, completed] = [await countOf('RUNNING'), (await countOf('COMPLETED')) ?? 0];
    expect(running).toBe(1);
    gate.resolve(null);
    await ends(taskId);
    expect([await countOf('RUNNING'), await countOf('COMPLETED')]).toEqual([0, completed + 1]);
  });

  it('waits behind what waits of its type, and overtakes nothing', async () => {
    const order: string[] = [];
    const handler: TaskHandler = (_input, { taskId }) => void order.push(taskId);
    const replica = await workerWith(handler, { env: { INLINE_CONCURRENCY: '1' } });
    const gate = Promise.withResolvers<null>();
    const first = await waitingTask(replica.database, TYPE);
    const { taskId } = await create(replica);
    gate.resolve(null);
    await ends(taskId);
    expect(order).toEqual([first, taskId]);
  });

  it('takes no place of another one: never more handlers than INLINE_CONCURRENCY run', async () => {
    let [running, most] = [0, 0];
    const handler: TaskHandler = async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 2));
      running -= 1;
    };
    const replica = await workerWith(handler, { env: { INLINE_CONCURRENCY: '3' } });
    const created: Promise<string>[] = [];
    for (let n = 0; n < 60; n += 1) {
      created.push(create(replica).then(({ taskId }) => taskId));
      if (n % 4 === 0) await new Promise(setImmediate);
    }
    for (const taskId of await Promise.all(created)) await ends(taskId);
    expect(most).toBe(3);
  });

  it('hears of a cancellation that comes at once', async () => {
    const reasons: unknown[] = [];
    const replica = await workerWith((input, context) => {
      context.signal.addEventListener('abort', () => reasons.push(context.signal.reason));
      return untilStopped(input, context);
    });
    const { taskId } = await create(replica);
    await replica.get(CancelTask).execute(OWNER, taskId, 'enough');
    await eventually('it is cancelled', async () => (await rowOf(taskId)).status === 'CANCELLED');
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_CANCELLED']);
    expect(reasons).toMatchObject([{ why: 'cancelled' }]);
  });

  it('waits where the worker has not started, and where work ends', async () => {
    const replica = await replicaWith(() => null);
    const before = await create(replica);
    expect(await rowOf(before.taskId)).toMatchObject({ status: 'ACCEPTED', is_leased: false });
    replica.startWorker();
    await ends(before.taskId);
    await replica.stopWorker();
    const after = await create(replica);
    expect(await rowOf(after.taskId)).toMatchObject({ status: 'ACCEPTED', is_leased: false });
    expect(replica.get(InlineWorker).isBehind).toBe(false);
  });

  it('goes back when it is stored while the worker stops, and no attempt is lost', async () => {
    const proxy = await PostgresProxy.start(test.appUrl);
    try {
      const replica = await workerWith(untilStopped, { url: proxy.url });
      const insert = proxy.hold(({ sql }) => sql.includes('INSERT INTO taskbridge.proj_tasks'));
      const creating = create(replica);
      await insert.held;
      const stopped = replica.stopWorker();
      insert.release();
      const { taskId } = await creating;
      await stopped;
      expect(await rowOf(taskId)).toMatchObject({ status: 'RUNNING', is_leased: false });
      expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_RETRYING']);
    } finally {
      await proxy.refuse();
    }
  });

  it('whose process dies before its handler begins is run by another one when its lease is over', async () => {
    const dead = await replicaWith(() => null);
    const [outcome] = await insertTasks(
      dead.database,
      [aTask({ taskType: TYPE, ownerId: OWNER.subject, leaseToken: '1.dead' })],
      null,
      {
        ...HOLDER,
        leaseSeconds: 0,
      },
    );
    const taskId = outcome?.outcome === 'inserted' ? outcome.taskId : '';
    expect(await rowOf(taskId)).toMatchObject({ status: 'RUNNING', attempt: 1, is_leased: true });
    const replica = await workerWith(() => null);
    await replica.get(EndLostAttempts).execute();
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_RETRYING']);
    await superuser.query('UPDATE taskbridge.proj_tasks SET claimable_at = now() WHERE task_id = $1', [taskId]);
    await ends(taskId);
    expect(await rowOf(taskId)).toMatchObject({ attempt: 2 });
  });
});

it('Tasks that are created together begin in the transaction that stores them', async () => {
  const gate = Promise.withResolvers<null>();
  const replica = await workerWith(() => gate.promise);
  const created = await Promise.all(Array.from({ length: 20 }, () => create(replica)));
  const ids = created.map(({ taskId }) => taskId);
  for (const taskId of ids) expect(await rowOf(taskId)).toMatchObject({ status: 'RUNNING', revision: 0 });
  expect(await transactionsOf(ids)).toBe(1);
  gate.resolve(null);
  for (const taskId of ids) await ends(taskId);
});

const LATER = `UPDATE taskbridge.proj_tasks SET claimable_at = now() + interval '1 hour', vtime = NULL WHERE task_id = $1`;
const UNPLACED = 'UPDATE taskbridge.proj_tasks SET vtime = NULL WHERE task_id = $1';
const LEASED = `WITH event AS (
    INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
    VALUES ($1, 1, 'TASK_STARTED', '{}', gen_random_uuid(), 'test')
  )
  UPDATE taskbridge.proj_tasks SET claimable_at = NULL, lease_token = '1.other', lease_expires_at = now() + interval '1 hour',
    status = 'RUNNING', attempt = 1, attempt_base = 1, lease_number = 1, head_event_id = 1 WHERE task_id = $1`;

describe('New tasks of a type with limits', () => {
  const LIMITS = { [TYPE]: { type: 4, owner: 2 } };
  const store = (database: Replica['database'], owners: readonly string[]) =>
    insertTasks(
      database,
      owners.map((ownerId, n) => ({ ...aTask({ taskType: TYPE, ownerId }), leaseToken: `1.secret-${n}` })),
      null,
      { ...HOLDER, limits: LIMITS },
    );
  const begunOf = (outcomes: Awaited<ReturnType<typeof store>>) =>
    outcomes.filter((outcome) => outcome.outcome === 'inserted' && outcome.begun !== null).length;

  it('begin together where all have room, and wait together where one has none', async () => {
    const { database } = await replicaWith(() => null);
    expect(begunOf(await store(database, ['ada', 'ada', 'bob']))).toBe(3);
    await superuser.query('TRUNCATE taskbridge.events, taskbridge.proj_tasks');
    expect(begunOf(await store(database, ['ada', 'ada', 'ada']))).toBe(0);
    await superuser.query('TRUNCATE taskbridge.events, taskbridge.proj_tasks');
    expect(begunOf(await store(database, ['ada', 'ada', 'bob', 'bob', 'eve']))).toBe(0);
    await superuser.query('TRUNCATE taskbridge.events, taskbridge.proj_tasks');
    expect(begunOf(await store(database, ['ada', 'bob', 'eve']))).toBe(3);
    expect(begunOf(await store(database, ['ada']))).toBe(1);
    expect(begunOf(await store(database, ['dan']))).toBe(0);
  });

  it('wait where a key of theirs is locked, and behind the tasks that it holds', async () => {
    const { database } = await replicaWith(() => null);
    expect(begunOf(await store(database, ['ada']))).toBe(1);
    const { rows } = await superuser.query<{ key: string }>(
      `SELECT key FROM taskbridge.proj_limits WHERE key LIKE 'concurrency:owner:%ada%'`,
    );
    const key = rows[0]?.key;
    expect(key).toBeDefined();
    await superuser.query('BEGIN');
    await superuser.query('SELECT FROM taskbridge.proj_limits WHERE key = $1 FOR UPDATE', [key]);
    expect(begunOf(await store(database, ['ada']))).toBe(0);
    await superuser.query('ROLLBACK');
    await superuser.query(`DELETE FROM taskbridge.proj_tasks WHERE status = 'ACCEPTED'`);
    const held = await waitingTask(database, TYPE);
    await superuser.query('UPDATE taskbridge.proj_tasks SET claimable_at = NULL, hold_key = $2 WHERE task_id = $1', [
      held,
      key,
    ]);
    expect(begunOf(await store(database, ['ada']))).toBe(0);
    await superuser.query('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [held]);
    await superuser.query(`DELETE FROM taskbridge.proj_tasks WHERE status = 'ACCEPTED'`);
    expect(begunOf(await store(database, ['ada']))).toBe(1);
  });

  it('are never more than the limit, however many sessions store them at once', async () => {
    const sessions = await Promise.all([1, 2, 3].map(() => replicaWith(() => null)));
    for (let round = 0; round < 20; round += 1) {
      await superuser.query('TRUNCATE taskbridge.events, taskbridge.proj_tasks, taskbridge.proj_limits');
      const outcomes = await Promise.all(
        sessions.flatMap(({ database }, n) => [1, 2].map((m) => store(database, [`owner-${n}`, `owner-${n}-${m}`]))),
      );
      const begun = outcomes.reduce((sum, some) => sum + begunOf(some), 0);
      expect(begun).toBeLessThanOrEqual(4);
      expect(begun).toBeGreaterThan(0);
    }
  });
});
