import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { type Client, expectError, expectFieldErrors, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import {
  type Held,
  type Lease,
  message,
  output,
  progress,
  WITH_WORKERS,
  WorkerClient,
} from '../support/worker-client.js';

let database: TestDatabase;
let superuser: pg.Client;
let services: readonly [Service, Service];
let client: Client;
let worker: WorkerClient;
/** The same worker at the other replica. */
let elsewhere: WorkerClient;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  const env = { DATABASE_URL: database.appUrl, ...WITH_WORKERS, MAX_LEASE_SECONDS: '300' };
  services = await Promise.all([startService(env, { lifetime: 'file' }), startService(env, { lifetime: 'file' })]);
  client = newPrincipal(services[0].url);
  worker = new WorkerClient(services[0].url);
  elsewhere = new WorkerClient(services[1].url, worker.workerId);
});

afterAll(async () => {
  await checkInvariants(database.superuserUrl);
  await Promise.all(services.map((service) => service.stop()));
  await superuser.end();
  await database.drop();
});

async function leased(taskType = uniqueId('type'), more: Parameters<WorkerClient['lease']>[2] = {}): Promise<Lease> {
  const answer = await client.create({ clientRequestId: uniqueId(), taskType });
  expect(answer.status).toBe(201);
  return worker.lease(taskType, 15_000, more);
}

const logOf = async (taskId: string) =>
  (await client.events(taskId, { maxEvents: '500', waitTimeoutMs: '0' })).body.events;
const textsOf = async (taskId: string) =>
  (await logOf(taskId)).flatMap(({ payload }) => payload['message'] ?? payload['data'] ?? []);
const idsOf = (answer: { status: number; text: string; body: { eventIds: readonly string[] } }) => {
  expect([answer.status, answer.text]).toEqual([200, expect.anything()]);
  return answer.body.eventIds;
};

describe('A batch with keys', () => {
  it('is stored in its order, and again answers the ids, whatever the content', async () => {
    const lease = await leased();
    expect(idsOf(await worker.keyed(lease, { a: message('1'), b: progress(2), c: message('3') }))).toEqual([
      '2',
      '3',
      '4',
    ]);
    expect(idsOf(await elsewhere.keyed(lease, { c: message('other'), a: progress(9) }))).toEqual(['4', '2']);
    expect(await textsOf(lease.taskId)).toEqual(['1', '3']);
  });

  it('stores what is new of it behind what is known, and a doubled key once', async () => {
    const lease = await leased();
    await worker.keyed(lease, { a: message('a') });
    const events = [
      { ...message('b'), eventKey: 'b' },
      { ...message('again'), eventKey: 'a' },
      { ...message('twice'), eventKey: 'b' },
      { type: 'TASK_STARTED', payload: {}, eventKey: 's' },
      { ...message('c'), eventKey: 'c' },
    ];
    const mixed = await worker.call<{ eventIds: string[] }>(lease, 'events', { events });
    expect(idsOf(mixed)).toEqual(['3', '2', '3', '1', '4']);
    expect(await textsOf(lease.taskId)).toEqual(['a', 'b', 'c']);
  });

  it('keeps adjacent output apart, because each has a key', async () => {
    const lease = await leased();
    expect(idsOf(await worker.keyed(lease, { x: output('1'), y: output('2') }))).toEqual(['2', '3']);
  });

  it('takes no number, so numbered batches of another writer go on beside it', async () => {
    const lease = await leased();
    expect(idsOf(await worker.events(lease, 1, [message('n1')]))).toEqual(['2']);
    expect(idsOf(await worker.keyed(lease, { k: message('k') }))).toEqual(['3']);
    expect(idsOf(await worker.events(lease, 1, [message('n1')]))).toEqual(['2']);
    expect(idsOf(await worker.events(lease, 2, [message('n2')]))).toEqual(['4']);
    // The slow path as well: it stores beside a key that is known.
    expect(idsOf(await worker.keyed(lease, { k: message('k'), l: message('l') }))).toEqual(['3', '5']);
    expect(idsOf(await worker.events(lease, 2, [message('n2')]))).toEqual(['4']);
    expect(await textsOf(lease.taskId)).toEqual(['n1', 'k', 'n2', 'l']);
  });

  it('has the keys of its attempt: the next attempt begins without any', async () => {
    const first = await leased();
    expect(idsOf(await worker.keyed(first, { a: message('first') }))).toEqual(['2']);
    await worker.release(first);
    const second = await worker.lease(first.taskType);
    expect(idsOf(await worker.keyed(second, { a: message('second') }))).toEqual(['4']);
    expectError(await worker.keyed(first, { a: message('first') }), 409, 'LEASE_LOST');
  });

  it('stores anew what an answer made void, and nothing else, and again only once', async () => {
    const first = await leased();
    const said = { m: message('told'), o: output('draft'), p: progress(5) };
    expect(idsOf(await worker.keyed(first, said))).toEqual(['2', '3', '4']);
    const { suspendId } = (await worker.suspend(first)).body;
    const action = { clientActionId: uniqueId(), suspendId, actionType: 'approve' };
    expect((await client.act(first.taskId, action)).body).toMatchObject({ status: 'ACCEPTED' });
    const resumed = await worker.lease(first.taskType);
    // 5 to 7: the question, the answer, and what voids.
    for (let i = 0; i < 2; i++) expect(idsOf(await worker.keyed(resumed, said))).toEqual(['2', '8', '9']);
    expect(await textsOf(first.taskId)).toEqual(['told', 'draft', 'draft']);
  });

  it('stores anew what a new try of a step made void', async () => {
    const lease = await leased();
    await worker.keyed(lease, { before: output('kept'), try: output('void') });
    const retry = { type: 'TASK_STEP', payload: { key: 'draft', state: 'retrying', supersedesAfterEventId: '2' } };
    expect(idsOf(await worker.keyed(lease, { retry }))).toEqual(['4']);
    const again = { before: output('kept'), try: output('void'), retry };
    for (let i = 0; i < 2; i++) expect(idsOf(await worker.keyed(lease, again))).toEqual(['2', '5', '4']);
  });

  it('of many writers over two replicas is stored once each, without a hole', async () => {
    const lease = await leased();
    const writers = Array.from({ length: 8 }, (_, writer) => writer);
    const ids = await Promise.all(
      writers.map(async (writer) => {
        const own: string[] = [];
        for (let n = 0; n < 12; n++) {
          const event = { [`${writer % 4}/${n}`]: message(`${writer % 4}/${n}`) };
          // Two writers of each key, each at both replicas.
          const answers = [worker, elsewhere].map(async (by) => idsOf(await by.keyed(lease, event)));
          const [a, b] = await Promise.all(answers);
          expect(a).toEqual(b);
          own.push(...(a ?? []));
        }
        return own;
      }),
    );
    expect(ids.slice(4)).toEqual(ids.slice(0, 4));
    const texts = await textsOf(lease.taskId);
    expect(texts).toHaveLength(48);
    expect(new Set(texts).size).toBe(48);
    expect((await worker.complete(lease)).status).toBe(200);
  });

  it('renews the lease, and says that the task is to end', async () => {
    const lease = await leased();
    await client.cancel(lease.taskId, { reason: 'enough' });
    const answer = await worker.keyed(lease, { a: message('a') });
    expect(answer.body).toMatchObject({ cancellationRequested: true });
    expect((await worker.keyed(lease, { a: message('a') })).body).toMatchObject({ cancellationRequested: true });
  });

  it.each<[string, object, string]>([
    ['neither a number nor keys', { events: [message('a')] }, 'batchSeq'],
    ['a number and keys', { batchSeq: 1, events: [{ ...message('a'), eventKey: 'a' }] }, 'events[0].eventKey'],
    ['keys on some events', { events: [{ ...message('a'), eventKey: 'a' }, message('b')] }, 'events[1].eventKey'],
    ['an empty key', { events: [{ ...message('a'), eventKey: '' }] }, 'events[0].eventKey'],
    ['a key with a space', { events: [{ ...message('a'), eventKey: 'a b' }] }, 'events[0].eventKey'],
    ['a long key', { events: [{ ...message('a'), eventKey: 'k'.repeat(129) }] }, 'events[0].eventKey'],
    ['a key that is no text', { events: [{ ...message('a'), eventKey: 7 }] }, 'events[0].eventKey'],
    ['a key that is null', { events: [{ ...message('a'), eventKey: null }] }, 'events[0].eventKey'],
    ['a number that is null', { batchSeq: null, events: [{ ...message('a'), eventKey: 'a' }] }, 'batchSeq'],
    ['a wrong event', { events: [{ ...progress(101), eventKey: 'a' }] }, 'events[0].payload.progress'],
  ])('is refused with %s, and stores nothing', async (_what, body, path) => {
    const lease = await leased();
    const errors = expectFieldErrors(await worker.call(lease, 'events', body));
    expect([...new Set(errors.map((error) => error.path))]).toEqual([path]);
    expect(await logOf(lease.taskId)).toHaveLength(1);
  });
});

describe('Many heartbeats in one call', () => {
  it('extend each lease that holds, and say of each other one that it is lost', async () => {
    const [a, b, cancelled, over] = [await leased(), await leased(), await leased(), await leased()];
    await client.cancel(cancelled.taskId, { reason: 'enough' });
    await worker.complete(over);
    const stale = { ...b, leaseToken: a.leaseToken };
    const none = { taskId: '01890000-0000-7000-8000-000000000000', leaseToken: 'x' };
    const answer = await worker.heartbeats([a, stale, cancelled, over, none, a, b]);
    const held = { taskId: a.taskId, leaseExpiresAt: expect.any(String), cancellationRequested: false };
    const lost = ({ taskId }: Held) => ({ taskId, code: 'LEASE_LOST' });
    expect([answer.status, answer.body.leases]).toEqual([
      200,
      [
        held,
        lost(b),
        { ...held, taskId: cancelled.taskId, cancellationRequested: true, cancelReason: 'enough' },
        lost(over),
        lost(none),
        held,
        { ...held, taskId: b.taskId },
      ],
    ]);
    const [first] = answer.body.leases;
    expect(Date.parse(first?.leaseExpiresAt ?? '')).toBeGreaterThanOrEqual(Date.parse(a.leaseExpiresAt));
  });

  it('wait for a row that another session changes, and take it for neither lost nor extended', async () => {
    const lease = await leased();
    const intruder = new pg.Client({ connectionString: database.superuserUrl });
    await intruder.connect();
    await intruder.query('BEGIN');
    await intruder.query('SELECT FROM taskbridge.proj_tasks WHERE task_id = $1 FOR UPDATE', [lease.taskId]);
    let isAnswered = false;
    const answer = worker.heartbeats([lease]).finally(() => {
      isAnswered = true;
    });
    await eventually('the renewal waits', async () => {
      const { rows } = await superuser.query(
        `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE taskbridge.proj_tasks%'`,
      );
      return rows.length > 0;
    });
    expect(isAnswered).toBe(false);
    await intruder.query('COMMIT');
    await intruder.end();
    expect((await answer).body.leases[0]).toMatchObject({ cancellationRequested: false });
  });

  it.each<[string, unknown, string]>([
    ['no list', {}, 'leases'],
    ['an empty list', { leases: [] }, 'leases'],
    ['a text', { leases: 'all' }, 'leases'],
    ['an item that is none', { leases: [1] }, 'leases'],
    ['a list in a list', { leases: [[]] }, 'leases'],
    ['a task id that is none', { leases: [{ taskId: 'x', leaseToken: 'x' }] }, 'leases[0].taskId'],
    ['no token', { leases: [{ taskId: '01890000-0000-7000-8000-000000000000' }] }, 'leases[0].leaseToken'],
    [
      'a huge list',
      {
        leases: Array.from({ length: 501 }, () => ({
          taskId: '01890000-0000-7000-8000-000000000000',
          leaseToken: 'x',
        })),
      },
      'leases',
    ],
  ])('are refused with %s', async (_what, body, path) => {
    const errors = expectFieldErrors(await worker.post('heartbeats', body));
    expect(errors.map((error) => error.path)).toContain(path);
  });

  it.each([
    ['heartbeats', { leases: [{ taskId: '01890000-0000-7000-8000-000000000000', leaseToken: 'a\0b' }] }],
    ['heartbeats', { leases: [{ taskId: '01890000-0000-7000-8000-000000000000', leaseToken: 'x', more: 1 }] }],
    ['heartbeats', []],
    ['heartbeats', null],
    ['signals', { workerId: 'w', known: [[]], waitTimeoutMs: 0 }],
    ['signals', { workerId: 'w\0', waitTimeoutMs: 0 }],
    ['signals', 'w'],
  ])('and signals have one shape of refusals for what is none of them: %s %j', async (path, body) => {
    const answer = await worker.post(path, body);
    expect([400, 422]).toContain(answer.status);
    expect(answer.body).toEqual({
      code: expect.any(String),
      message: expect.any(String),
      details: expect.any(Object),
      timestamp: expect.any(String),
      correlationId: expect.any(String),
    });
  });

  it('may be 500, in any case of the ids', async () => {
    const lease = await leased();
    const held = Array.from({ length: 500 }, () => ({ ...lease, taskId: lease.taskId.toUpperCase() }));
    const { status, body } = await worker.heartbeats(held);
    expect([status, body.leases.length, new Set(body.leases.map(({ taskId }) => taskId))]).toEqual([
      200,
      500,
      new Set([lease.taskId]),
    ]);
  });
});

describe('A claim with leaseSeconds', () => {
  const secondsOf = async (taskId: string) => {
    const sql = `SELECT round(extract(epoch FROM lease_expires_at - now()))::int AS s FROM taskbridge.proj_tasks
      WHERE task_id = $1`;
    return (await superuser.query<{ s: number }>(sql, [taskId])).rows[0]?.s;
  };

  it('gets leases of that length, and each accepted call renews them by it', async () => {
    const lease = await leased(undefined, { leaseSeconds: 200 });
    expect(Date.parse(lease.leaseExpiresAt) - Date.now()).toBeGreaterThan(190_000);
    const shorten = () =>
      superuser.query(`UPDATE taskbridge.proj_tasks SET lease_expires_at = now() + interval '5 s' WHERE task_id = $1`, [
        lease.taskId,
      ]);
    const calls: readonly (() => Promise<{ status: number }>)[] = [
      () => worker.events(lease, 1, [message('n')]),
      () => worker.events(lease, 1, [message('n')]),
      () => worker.keyed(lease, { k: message('k') }),
      () => worker.keyed(lease, { k: message('k') }),
      () => worker.finishStep(lease, 2, 'load', 1),
      () => elsewhere.heartbeat(lease),
      () => elsewhere.heartbeats([lease]),
    ];
    for (const call of calls) {
      await shorten();
      expect((await call()).status).toBe(200);
      expect(await secondsOf(lease.taskId)).toBeGreaterThan(190);
    }
    // The length belongs to the lease, not to the task.
    await worker.release(lease);
    await worker.claim({ taskTypes: [lease.taskType], steps: true });
    expect(await secondsOf(lease.taskId)).toBeLessThanOrEqual(30);
  });

  it('may ask for less than the setting', async () => {
    const lease = await leased(undefined, { leaseSeconds: 3 });
    expect(await secondsOf(lease.taskId)).toBeLessThanOrEqual(3);
  });

  it.each([301, 86_401, 0, 1.5, '30', null])('is refused for %p', async (leaseSeconds) => {
    const body = { workerId: 'w', taskTypes: [uniqueId('type')], waitTimeoutMs: 0, leaseSeconds };
    const errors = expectFieldErrors(await worker.post('leases', body));
    expect([...new Set(errors.map((error) => error.path))]).toEqual(['leaseSeconds']);
  });

  it('has a token that still cannot be changed', async () => {
    const lease = await leased(undefined, { leaseSeconds: 100 });
    for (const leaseToken of [lease.leaseToken.replace(/100$/, '300'), lease.leaseToken.replace(/\.100$/, '')])
      expectError(await worker.heartbeat({ ...lease, leaseToken }), 409, 'LEASE_LOST');
  });
});

describe('The registration of a worker', () => {
  const rowOf = async (workerId: string) => {
    const sql = `SELECT principal_id, version, task_types, features, seen_at FROM taskbridge.proj_workers
      WHERE worker_id = $1`;
    return (await superuser.query<Record<string, unknown>>(sql, [workerId])).rows[0];
  };

  it('is written with its claims: version, types and what it can', async () => {
    const by = new WorkerClient(services[0].url);
    const taskTypes = [uniqueId('b'), uniqueId('a')];
    await by.claim({ taskTypes, version: '1.4.2', features: ['eventKeys'], steps: true });
    await eventually('the row is there', async () => (await rowOf(by.workerId)) !== undefined);
    expect(await rowOf(by.workerId)).toMatchObject({
      principal_id: `worker:${by.workerId}`,
      version: '1.4.2',
      task_types: [...taskTypes].sort(),
      features: ['eventKeys', 'steps'],
    });
    const sql = 'SELECT task_type FROM taskbridge.proj_task_type_versions WHERE version = $1 AND task_type = ANY ($2)';
    await eventually(
      'the versions are there',
      async () => (await superuser.query(sql, ['1.4.2', taskTypes])).rows.length === 2,
    );
  });

  it('of a worker that says nothing has no version', async () => {
    const by = new WorkerClient(services[0].url);
    await by.claim({ taskTypes: [uniqueId('type')] });
    await eventually('the row is there', async () => (await rowOf(by.workerId)) !== undefined);
    expect(await rowOf(by.workerId)).toMatchObject({ version: null, features: [] });
  });

  it('is not written with every claim, but when it changes', async () => {
    const by = new WorkerClient(services[0].url);
    const taskTypes = [uniqueId('type')];
    await by.claim({ taskTypes, version: '1' });
    await eventually('the row is there', async () => (await rowOf(by.workerId)) !== undefined);
    const before = await rowOf(by.workerId);
    for (let i = 0; i < 20; i++) await by.claim({ taskTypes, version: '1' });
    await by.claim({ taskTypes, version: '2' });
    await eventually('the version is the new one', async () => (await rowOf(by.workerId))?.['version'] === '2');
    for (let i = 0; i < 20; i++) await by.claim({ taskTypes, version: '2' });
    const other = new WorkerClient(services[0].url);
    await other.claim({ taskTypes });
    // Written after all of the claims above: they were not.
    await eventually('another row is there', async () => (await rowOf(other.workerId)) !== undefined);
    const { rows } = await superuser.query(
      'SELECT seen_at > $2 AS is_later, version FROM taskbridge.proj_workers WHERE worker_id = $1',
      [by.workerId, before?.['seen_at']],
    );
    expect(rows).toEqual([{ is_later: true, version: '2' }]);
  });

  it.each<[string, object, string]>([
    ['an empty version', { version: '' }, 'version'],
    ['a version with a space', { version: '1 2' }, 'version'],
    ['a long version', { version: 'v'.repeat(65) }, 'version'],
    ['a version that is a number', { version: 1 }, 'version'],
    ['features that are no list', { features: 'steps' }, 'features'],
    ['a feature that is none', { features: ['a b'] }, 'features'],
    ['many features', { features: Array.from({ length: 33 }, () => 'a') }, 'features'],
  ])('is refused with %s', async (_what, more, path) => {
    const body = { workerId: 'w', taskTypes: [uniqueId('type')], waitTimeoutMs: 0, ...more };
    const errors = expectFieldErrors(await worker.post('leases', body));
    expect(errors.map((error) => error.path)).toContain(path);
  });
});
