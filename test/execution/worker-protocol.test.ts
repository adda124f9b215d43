import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import {
  type Answer,
  Client,
  type CreateBody,
  type Envelope,
  expectError,
  expectFieldErrors,
  newPrincipal,
  rawRequest,
  uniqueId,
} from '../support/client.js';
import { checkInvariants } from '../support/fold.js';
import { createTestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import {
  type Held,
  type Lease,
  message,
  output,
  progress,
  question,
  WITH_WORKERS,
  WORKER_TOKEN,
  WorkerClient,
} from '../support/worker-client.js';

const OTHER_TOKEN = 'another-worker-token-0123456789abcdef';
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let superuser: pg.Client;
let service: Service;
let client: Client;
let worker: WorkerClient;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  service = await started({ WORKER_TOKENS: `${WORKER_TOKEN},${OTHER_TOKEN}` });
  client = newPrincipal(service.url);
  worker = new WorkerClient(service.url);
});

afterAll(async () => {
  await service.stop();
  await superuser.end();
  await database.drop();
});

const started = (env: Record<string, string> = {}) =>
  startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS, ...env }, { lifetime: 'file' });

/** Every test has a type of its own, so that none is handed the tasks of another. */
const newType = () => uniqueId('type');

const created = async (taskType: string, overrides: Partial<CreateBody> = {}, by = client): Promise<string> => {
  const answer = await by.create({ clientRequestId: uniqueId('request'), taskType, ...overrides });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.body.taskId;
};

const leased = async (taskType = newType(), by = worker): Promise<Lease> => {
  await created(taskType);
  return by.lease(taskType);
};

const logOf = async (taskId: string): Promise<readonly Envelope[]> =>
  (await client.events(taskId, { maxEvents: '500', waitTimeoutMs: '0' })).body.events;
const typesOf = async (taskId: string) => (await logOf(taskId)).map(({ type }) => type);
const lastOf = async (taskId: string) => (await logOf(taskId)).at(-1);

/** All that PostgreSQL has of a task, to compare before and after. */
const everythingOf = async (taskId: string): Promise<unknown> => {
  const sql = `SELECT to_jsonb(t) AS task, (SELECT jsonb_agg(e ORDER BY e.event_id) FROM taskbridge.events e
    WHERE e.task_id = t.task_id) AS log FROM taskbridge.proj_tasks t WHERE t.task_id = $1`;
  return (await superuser.query(sql, [taskId])).rows[0];
};

/** Hands the time on to where the lease is over. */
const expire = async ({ taskId, leaseToken }: Held): Promise<void> => {
  const sql = `UPDATE taskbridge.proj_tasks SET lease_expires_at = now() - interval '1 second'
    WHERE task_id = $1 AND lease_token = $2`;
  await superuser.query(sql, [taskId, leaseToken]);
};

/** Lets a backoff be over. */
const skipBackoff = async (taskId: string): Promise<void> => {
  const sql = 'UPDATE taskbridge.proj_tasks SET claimable_at = now() WHERE task_id = $1 AND claimable_at IS NOT NULL';
  await superuser.query(sql, [taskId]);
};

/** How long the task is kept from being claimed, from its last change on. */
const backoffMsOf = async (taskId: string): Promise<number> => {
  const sql = `SELECT extract(epoch FROM claimable_at - updated_at)::float8 * 1000 AS ms
    FROM taskbridge.proj_tasks WHERE task_id = $1`;
  return (await superuser.query<{ ms: number }>(sql, [taskId])).rows[0]?.ms ?? Number.NaN;
};

const retried = (taskId: string) =>
  eventually('the next attempt is announced', async () => (await lastOf(taskId))?.type === 'TASK_RETRYING');

/** Each call of a held lease, with a body that is right. */
const CALLS: Readonly<Record<string, (by: WorkerClient, held: Held) => Promise<Answer<unknown>>>> = {
  events: (by, held) => by.events(held, 1, [progress(1)]),
  steps: (by, held) => by.finishStep(held, 1, 'load', { rows: 3 }),
  heartbeat: (by, held) => by.heartbeat(held),
  suspend: (by, held) => by.suspend(held),
  complete: (by, held) => by.complete(held, { done: true }),
  fail: (by, held) => by.fail(held, { retryable: true }),
  cancelled: (by, held) => by.cancelled(held),
  release: (by, held) => by.release(held),
};

describe('A worker token', () => {
  const paths = ['leases', ...Object.keys(CALLS).map((name) => `tasks/0199-no-such-task/${name}`)];

  const answerTo = (path: string, headers: readonly string[], url = service.url) =>
    rawRequest(
      url,
      [`POST /worker/v1/${path} HTTP/1.1`, 'Content-Type: application/json', 'Content-Length: 2', ...headers],
      '{}',
    );

  it.each(paths)('is asked for by %s before anything else is looked at', async (path) => {
    expectError(await answerTo(path, []), 401, 'AUTHENTICATION_ERROR');
  });

  it.each([
    ['that is not one of them', ['Authorization: Bearer some-other-token-0123456789abcdefgh']],
    ['that is a part of one', [`Authorization: Bearer ${WORKER_TOKEN.slice(0, -1)}`]],
    ['with something after it', [`Authorization: Bearer ${WORKER_TOKEN} x`]],
    ['that is both of them', [`Authorization: Bearer ${WORKER_TOKEN},${OTHER_TOKEN}`]],
    ['that is empty', ['Authorization: Bearer ']],
    ['of another scheme', [`Authorization: Basic ${Buffer.from(`worker:${WORKER_TOKEN}`).toString('base64')}`]],
    [
      'in a header that comes twice',
      [`Authorization: Bearer ${WORKER_TOKEN}`, `Authorization: Bearer ${WORKER_TOKEN}`],
    ],
    ['beside a wrong one', ['Authorization: Bearer wrong', `authorization: Bearer ${WORKER_TOKEN}`]],
    ['in a header of its own', [`X-Worker-Token: ${WORKER_TOKEN}`]],
    ['in the proxy’s header', [`X-Auth-Proxy-Secret: ${WORKER_TOKEN}`]],
  ])('%s is refused', async (_, headers) => {
    expectError(await answerTo('leases', headers), 401, 'AUTHENTICATION_ERROR');
  });

  it('is not replaced by any header of a client', async () => {
    const headers = ['X-Principal-Id: worker', 'X-Principal-Scopes: tasks:execute tasks:write', 'X-Worker-Id: w'];
    expectError(await answerTo('leases', headers), 401, 'AUTHENTICATION_ERROR');
  });

  it('may be any of those that are set', async () => {
    for (const token of [WORKER_TOKEN, OTHER_TOKEN]) {
      const answer = await new WorkerClient(service.url, uniqueId(), token).claim({ taskTypes: [newType()] });
      expect([answer.status, answer.body]).toEqual([200, { leases: [] }]);
    }
  });

  it('is no principal: it neither creates nor reads a task where one is required', async () => {
    const strict = await started({ REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' });
    const taskId = await created(newType());
    const headers = { Authorization: `Bearer ${WORKER_TOKEN}` };
    const nobody = new Client(strict.url);
    expectError(
      await nobody.create({ clientRequestId: uniqueId(), taskType: newType() }, headers),
      401,
      'AUTHENTICATION_ERROR',
    );
    expectError(await nobody.snapshot(taskId, headers), 401, 'AUTHENTICATION_ERROR');
    await strict.stop();
  });

  it('is not enough where remote workers are off, and nothing is where no token is set', async () => {
    const [inlineOnly, noTokens] = await Promise.all([started({ EXECUTOR: 'inline' }), started({ WORKER_TOKENS: '' })]);
    const claim = { taskTypes: [newType()] };
    expectError(await new WorkerClient(inlineOnly.url).claim(claim), 403, 'ACCESS_DENIED');
    expectError(await new WorkerClient(noTokens.url).claim(claim), 401, 'AUTHENTICATION_ERROR');
    expectError(await answerTo('leases', ['Authorization: Bearer '], noTokens.url), 401, 'AUTHENTICATION_ERROR');
    await Promise.all([inlineOnly.stop(), noTokens.stop()]);
  });
});

describe('A claim', () => {
  it('hands out a task with all that its worker needs', async () => {
    const taskType = newType();
    const input = { text: 'hello', nested: [1, { a: null }] };
    const clientRequestId = uniqueId('request');
    const taskId = await created(taskType, { clientRequestId, input, metadata: { tag: 'x' } });
    const before = Date.now();
    const lease = await worker.lease(taskType);
    expect(lease).toEqual({
      taskId,
      attempt: 1,
      leaseToken: expect.stringMatching(/^[\x21-\x7e]{20,128}$/),
      leaseExpiresAt: expect.stringMatching(TIMESTAMP),
      taskType,
      clientRequestId,
      input,
      metadata: { tag: 'x' },
      ownerId: client.principal,
      attachments: [],
      headEventId: '1',
      traceparent: expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/),
      cancellationRequested: false,
      answers: [],
    });
    const lasts = Date.parse(lease.leaseExpiresAt) - before;
    expect(lasts).toBeGreaterThan(29_000);
    expect(lasts).toBeLessThan(35_000);
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED']);
    expect((await client.snapshot(taskId)).body).toMatchObject({ status: 'RUNNING', attempt: 1 });
  });

  it('answers an empty list at once when it does not wait', async () => {
    const answer = await worker.claim({ taskTypes: [newType()] });
    expect([answer.status, answer.body]).toEqual([200, { leases: [] }]);
  });

  it('answers an empty list after the wait', async () => {
    const since = performance.now();
    const answer = await worker.claim({ taskTypes: [newType()], waitTimeoutMs: 400 });
    expect([answer.status, answer.body]).toEqual([200, { leases: [] }]);
    expect(performance.now() - since).toBeGreaterThan(390);
    expect(performance.now() - since).toBeLessThan(3_000);
  });

  it('that waits is answered as soon as there is a task', async () => {
    const taskType = newType();
    const waiting = worker.lease(taskType);
    // A claim that is not there yet would be answered all the same.
    await worker.claim({ taskTypes: [newType()] });
    const taskId = await created(taskType);
    const since = performance.now();
    expect((await waiting).taskId).toBe(taskId);
    expect(performance.now() - since).toBeLessThan(400);
  });

  it('that waits is answered when a backoff is over', async () => {
    const lease = await leased();
    await worker.fail(lease, { retryable: true, retryAfterMs: 300 });
    const again = await worker.lease(lease.taskType, 10_000);
    expect(again).toMatchObject({ taskId: lease.taskId, attempt: 2 });
  });

  it('whose worker has gone takes no task', async () => {
    const taskType = newType();
    const gone = new AbortController();
    const claim = worker.claim({ taskTypes: [taskType], waitTimeoutMs: 30_000 }, gone.signal).catch(() => 'gone');
    await worker.claim({ taskTypes: [taskType] });
    gone.abort();
    expect(await claim).toBe('gone');
    // The service hears of it on the connection of its own; a later claim gets the task.
    const taskId = await created(taskType);
    expect((await worker.lease(taskType)).taskId).toBe(taskId);
  });

  it('gets no more tasks than it asks for, and no task twice', async () => {
    const taskType = newType();
    const ids = new Set<string>();
    for (let n = 0; n < 5; n++) ids.add(await created(taskType));
    const sizes: number[] = [];
    const got: string[] = [];
    for (const maxTasks of [2, 2, 50]) {
      const { leases } = (await worker.claim({ taskTypes: [taskType], maxTasks })).body;
      sizes.push(leases.length);
      got.push(...leases.map(({ taskId }) => taskId));
    }
    expect(sizes).toEqual([2, 2, 1]);
    expect(new Set(got)).toEqual(ids);
  });

  it('gets tasks of its types only', async () => {
    const [wanted, other, third] = [newType(), newType(), newType()];
    await created(other);
    const ids = [await created(wanted), await created(third)];
    const { leases } = (await worker.claim({ taskTypes: [wanted, third, newType()], maxTasks: 50 })).body;
    expect(leases.map(({ taskId }) => taskId)).toEqual(ids);
  });

  it('gets no task of a type that the service runs itself', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => created('demo.sleep', { input: { ms: 5 } })));
    const claims = await Promise.all(
      Array.from({ length: 20 }, () => worker.claim({ taskTypes: ['demo.sleep', 'demo.echo'], maxTasks: 50 })),
    );
    expect(claims.flatMap(({ body }) => body.leases)).toEqual([]);
    await eventually('all end', async () => {
      const ends = await Promise.all(ids.map(async (taskId) => (await client.snapshot(taskId)).body.status));
      return ends.every((status) => status === 'COMPLETED');
    });
  });

  it('gets the oldest first, across owners and claims', async () => {
    const taskType = newType();
    const owners = [client, newPrincipal(service.url), newPrincipal(service.url)];
    const ids: string[] = [];
    for (const owner of owners) ids.push(await created(taskType, {}, owner));
    const { leases } = (await worker.claim({ taskTypes: [taskType], maxTasks: 3 })).body;
    expect(leases.map(({ taskId }) => taskId)).toEqual(ids);

    const own = newType();
    const mine: string[] = [];
    for (let n = 0; n < 6; n++) mine.push(await created(own));
    const got: string[] = [];
    for (const maxTasks of [1, 2, 1, 2]) {
      const claim = await worker.claim({ taskTypes: [own], maxTasks });
      got.push(...claim.body.leases.map(({ taskId }) => taskId));
    }
    expect(got).toEqual(mine);
  });

  describe('when one owner has a thousand tasks waiting and another has one', () => {
    const crowd = async (): Promise<{ taskType: string; single: string }> => {
      const taskType = newType();
      await superuser.query(
        `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type,
           claimable_at, correlation_id)
         SELECT gen_random_uuid(), '', $1, n::text, repeat('0', 64), $2, now() - interval '1 minute', gen_random_uuid()
         FROM generate_series(1, 1000) AS n`,
        [uniqueId('crowd'), taskType],
      );
      await eventually('they have their places', async () => {
        const { rows } = await superuser.query<{ n: number }>(
          'SELECT count(*)::int AS n FROM taskbridge.proj_tasks WHERE task_type = $1 AND vtime IS NULL',
          [taskType],
        );
        return rows[0]?.n === 0;
      });
      return { taskType, single: await created(taskType) };
    };

    it('hands out the single one with the first ten', async () => {
      const { taskType, single } = await crowd();
      const { leases } = (await worker.claim({ taskTypes: [taskType], maxTasks: 10 })).body;
      expect(leases).toHaveLength(10);
      expect(leases.map(({ taskId }) => taskId)).toContain(single);
    });

    it('hands out the single one soon to workers that take one at a time', async () => {
      const { taskType, single } = await crowd();
      const got: string[] = [];
      for (let n = 0; n < 4; n++) got.push((await worker.lease(taskType)).taskId);
      expect(got).toContain(single);
    });
  });

  it.each([
    ['without a worker', { workerId: undefined }, 'workerId'],
    ['of a worker with a space in its name', { workerId: 'a b' }, 'workerId'],
    ['without types', { taskTypes: undefined }, 'taskTypes'],
    ['of no types', { taskTypes: [] }, 'taskTypes'],
    ['of a type that no task can have', { taskTypes: ['ok', 'not ok'] }, 'taskTypes'],
    ['of types that are no list', { taskTypes: 'ok' }, 'taskTypes'],
    ['of no tasks', { maxTasks: 0 }, 'maxTasks'],
    ['of 51 tasks', { maxTasks: 51 }, 'maxTasks'],
    ['of half a task', { maxTasks: 1.5 }, 'maxTasks'],
    ['that waits longer than 30 s', { waitTimeoutMs: 30_001 }, 'waitTimeoutMs'],
    ['that waits since before', { waitTimeoutMs: -1 }, 'waitTimeoutMs'],
    ['with a member that nobody knows', { maxtasks: 1 }, 'maxtasks'],
  ])('%s is refused', async (_, overrides, path) => {
    const body = { workerId: 'w', taskTypes: ['ok'], maxTasks: 1, waitTimeoutMs: 0, ...overrides };
    const errors = expectFieldErrors(await worker.post('leases', body));
    expect(errors.map((error) => error.path)).toContain(path);
  });
});

describe('A batch of events', () => {
  it('is stored in order, and answered with the ids and a lease that lasts longer', async () => {
    const lease = await leased();
    const events = [progress(10), message('half-way'), output('Hello'), progress(50)];
    const answer = await worker.events(lease, 1, events);
    expect([answer.status, answer.body]).toEqual([
      200,
      {
        eventIds: ['2', '3', '4', '5'],
        leaseExpiresAt: expect.stringMatching(TIMESTAMP),
        cancellationRequested: false,
      },
    ]);
    expect(Date.parse(answer.body.leaseExpiresAt)).toBeGreaterThanOrEqual(Date.parse(lease.leaseExpiresAt));
    expect((await logOf(lease.taskId)).map(({ type, payload }) => [type, payload])).toEqual([
      ['TASK_STARTED', {}],
      ['TASK_PROGRESS', { progress: 10 }],
      ['TASK_MESSAGE', { message: 'half-way' }],
      ['TASK_OUTPUT', { channel: 'text', op: 'append', data: 'Hello', attempt: 1 }],
      ['TASK_PROGRESS', { progress: 50 }],
    ]);
    expect((await client.snapshot(lease.taskId)).body.progress).toBe(50);
  });

  it('loses its TASK_STARTED, which is there already, and gets its id', async () => {
    const lease = await leased();
    const start = { type: 'TASK_STARTED', payload: { message: 'off we go' } };
    expect((await worker.events(lease, 1, [start])).body.eventIds).toEqual(['1']);
    const mixed = await worker.events(lease, 2, [output('a'), start, output('b'), progress(3)]);
    expect(mixed.body.eventIds).toEqual(['2', '1', '2', '3']);
    expect(await typesOf(lease.taskId)).toEqual(['TASK_STARTED', 'TASK_OUTPUT', 'TASK_PROGRESS']);
    expect((await worker.events(lease, 1, [start])).body.eventIds).toEqual(['1']);
  });

  it('has its adjacent appends of a channel stored as one, and no others', async () => {
    const lease = await leased();
    const replace = { type: 'TASK_OUTPUT', payload: { channel: 'a', op: 'replace', data: 'new' } };
    const events = [
      output('1', 'a'),
      output('2', 'a'),
      output('3', 'a'),
      output('4', 'b'),
      output('5', 'a'),
      replace,
      output('6', 'a'),
      output('7', 'a'),
      progress(1),
      output('8', 'a'),
    ];
    const answer = await worker.events(lease, 1, events);
    expect(answer.body.eventIds).toEqual(['2', '2', '2', '3', '4', '5', '6', '6', '7', '8']);
    const stored = (await logOf(lease.taskId)).slice(1);
    expect(stored.map(({ payload }) => payload['data'])).toEqual(['123', '4', '5', 'new', '67', undefined, '8']);
    // What is adjacent but in another batch is an event of its own.
    expect((await worker.events(lease, 2, [output('9', 'a')])).body.eventIds).toEqual(['9']);
  });

  it('joins output up to the largest payload, and loses no character of it', async () => {
    const lease = await leased();
    const pieces = Array.from({ length: 40 }, (_, n) => `${n}:${'é'.repeat(1_500)};`);
    const answer = await worker.events(
      lease,
      1,
      pieces.map((piece) => output(piece)),
    );
    expect(answer.status).toBe(200);
    const stored = (await logOf(lease.taskId)).slice(1);
    expect(stored.map(({ payload }) => payload['data']).join('')).toBe(pieces.join(''));
    for (const { payload } of stored) expect(Buffer.byteLength(JSON.stringify(payload))).toBeLessThanOrEqual(65_536);
    expect(stored).toHaveLength(2);
    expect(new Set(answer.body.eventIds)).toEqual(new Set(['2', '3']));
  });

  it('is stored once however often it is sent, also at the same time', async () => {
    const lease = await leased();
    const events = [output('a'), output('b'), progress(5)];
    const answers = await Promise.all(Array.from({ length: 8 }, () => worker.events(lease, 1, events)));
    for (const answer of answers) expect([answer.status, answer.body.eventIds]).toEqual([200, ['2', '2', '3']]);
    await worker.events(lease, 2, [progress(6)]);
    expect((await worker.events(lease, 1, events)).body.eventIds).toEqual(['2', '2', '3']);
    expect(await typesOf(lease.taskId)).toEqual(['TASK_STARTED', 'TASK_OUTPUT', 'TASK_PROGRESS', 'TASK_PROGRESS']);
  });

  it('that leaves a hole is refused with the number that is expected', async () => {
    const lease = await leased();
    const expected = async (batchSeq: number) =>
      expectError(await worker.events(lease, batchSeq, [progress(1)]), 409, 'BATCH_OUT_OF_ORDER').details;
    expect(await expected(2)).toEqual({ expected: 1 });
    await worker.events(lease, 1, [progress(1)]);
    expect(await expected(3)).toEqual({ expected: 2 });
    expect(await expected(2_147_483_647)).toEqual({ expected: 2 });
    expect(await typesOf(lease.taskId)).toEqual(['TASK_STARTED', 'TASK_PROGRESS']);
  });

  it.each([
    ['another value', [output('a'), progress(6)]],
    ['another order', [progress(5), output('a')]],
    ['one more event', [output('a'), progress(5), progress(5)]],
    ['one event less', [output('a')]],
    ['more in an event that is joined', [output('a'), output('b'), progress(5)]],
  ])('under a used number with %s is refused', async (_, other) => {
    const lease = await leased();
    await worker.events(lease, 1, [output('a'), progress(5)]);
    const before = await logOf(lease.taskId);
    expectError(await worker.events(lease, 1, other), 409, 'IDEMPOTENCY_CONFLICT');
    expect(await logOf(lease.taskId)).toEqual(before);
  });

  it.each([
    ['a progress above 100', { type: 'TASK_PROGRESS', payload: { progress: 101 } }, 'payload.progress'],
    ['a progress that is text', { type: 'TASK_PROGRESS', payload: { progress: '5' } }, 'payload.progress'],
    ['a message that is null', { type: 'TASK_MESSAGE', payload: { message: null } }, 'payload.message'],
    ['an unknown level', { type: 'TASK_MESSAGE', payload: { message: '', level: 'fatal' } }, 'payload.level'],
    ['an unknown op', { type: 'TASK_OUTPUT', payload: { channel: 'a', op: 'prepend', data: '' } }, 'payload.op'],
    ['output of no channel', { type: 'TASK_OUTPUT', payload: { op: 'append', data: '' } }, 'payload.channel'],
    [
      'output that names its attempt',
      { type: 'TASK_OUTPUT', payload: { channel: 'a', op: 'append', data: '', attempt: 7 } },
      'payload.attempt',
    ],
    ['an unknown member', { type: 'TASK_STARTED', payload: { when: 'now' } }, 'payload.when'],
    ['an end', { type: 'TASK_COMPLETED', payload: { result: 1 } }, 'type'],
    ['a question', { type: 'TASK_SUSPENDED', payload: question() }, 'type'],
    ['a retry', { type: 'TASK_RETRYING', payload: {} }, 'type'],
    ['no payload', { type: 'TASK_STARTED' }, 'payload'],
    ['a payload that is a list', { type: 'TASK_STARTED', payload: [] }, 'payload'],
  ])('with %s in the middle names its index, and is not stored at all', async (_, wrong, path) => {
    const lease = await leased();
    const before = await everythingOf(lease.taskId);
    const answer = await worker.call(lease, 'events', {
      batchSeq: 1,
      events: [progress(1), progress(2), wrong, progress(3)],
    });
    const errors = expectFieldErrors(answer);
    expect(errors.map((error) => error.path)).toContain(`events[2].${path}`);
    expect(await everythingOf(lease.taskId)).toEqual(before);
    expect((await worker.events(lease, 1, [progress(9)])).status).toBe(200);
  });

  it.each([
    ['no events', { batchSeq: 1, events: [] }, 'events'],
    ['501 events', { batchSeq: 1, events: Array(501).fill(progress(1)) }, 'events'],
    ['lists of events in place of events', { batchSeq: 1, events: [[progress(1)]] }, 'events'],
    ['lists of nothing in place of events', { batchSeq: 1, events: [[[[]]]] }, 'events'],
    ['no number', { events: [progress(1)] }, 'batchSeq'],
    ['the number 0', { batchSeq: 0, events: [progress(1)] }, 'batchSeq'],
    ['a number too large to count', { batchSeq: 2 ** 31, events: [progress(1)] }, 'batchSeq'],
    ['no token', { leaseToken: undefined, batchSeq: 1, events: [progress(1)] }, 'leaseToken'],
  ])('of %s is refused', async (_, body, path) => {
    const lease = await leased();
    const errors = expectFieldErrors(await worker.call(lease, 'events', body));
    expect(errors.map((error) => error.path)).toContain(path);
    expect(await typesOf(lease.taskId)).toEqual(['TASK_STARTED']);
  });

  it('of 500 events is stored', async () => {
    const lease = await leased();
    const answer = await worker.events(
      lease,
      1,
      Array.from({ length: 500 }, (_, n) => progress(n / 5)),
    );
    expect(answer.body.eventIds).toEqual(Array.from({ length: 500 }, (_, n) => String(n + 2)));
  });

  it.each([
    ['an event above 64 KiB', [output('x'.repeat(65_536))]],
    ['more than 256 KiB', Array.from({ length: 5 }, (_, n) => output('x'.repeat(60_000), String(n)))],
    ['more than 1 MiB', Array.from({ length: 20 }, (_, n) => output('x'.repeat(60_000), String(n)))],
  ])('with %s is too large, and not stored at all', async (_, events) => {
    const lease = await leased();
    const before = await everythingOf(lease.taskId);
    expectError(await worker.events(lease, 1, [progress(1), ...events]), 413, 'PAYLOAD_TOO_LARGE');
    expect(await everythingOf(lease.taskId)).toEqual(before);
  });

  it('that fills the log ends the task, and keeps its place for the end', async () => {
    const small = await started({ MAX_EVENTS_PER_TASK: '5' });
    const by = new WorkerClient(small.url);
    const lease = await leased(newType(), by);
    expect((await by.events(lease, 1, [progress(1), progress(2), progress(3)])).status).toBe(200);
    expectError(await by.events(lease, 2, [progress(4)]), 409, 'LEASE_LOST');
    const log = await logOf(lease.taskId);
    expect(log).toHaveLength(5);
    expect(log.at(-1)).toMatchObject({ type: 'TASK_FAILED', payload: { code: 'EVENT_LIMIT_EXCEEDED' } });
    await small.stop();
  });
});

describe('A step', () => {
  const stepsOf = async (taskId: string) =>
    (await logOf(taskId)).filter(({ type }) => type === 'TASK_STEP').map(({ payload }) => payload);

  it('has one result, the first, also in later attempts, and each end of it counts as a batch', async () => {
    const lease = await leased();
    await worker.events(lease, 1, [output('a')]);
    const first = await worker.finishStep(lease, 2, 'load#3@2', { rows: [1, 'ä'] });
    const stored = { eventId: '3', result: { rows: [1, 'ä'] } };
    expect([first.status, first.body]).toMatchObject([200, { ...stored, cancellationRequested: false }]);
    expect((await worker.finishStep(lease, 2, 'load#3@2', { rows: [1, 'ä'] })).body).toMatchObject(stored);
    expect((await worker.finishStep(lease, 3, 'load#3@2', 'another')).body).toMatchObject(stored);
    expectError(await worker.events(lease, 3, [progress(1)]), 409, 'IDEMPOTENCY_CONFLICT');
    expectError(await worker.finishStep(lease, 1, 'load#3@2', 1), 409, 'IDEMPOTENCY_CONFLICT');
    expectError(await worker.finishStep(lease, 5, 'next', 1), 409, 'BATCH_OUT_OF_ORDER');
    await worker.fail(lease, { retryable: true, retryAfterMs: 0 });
    const { leases } = (await worker.claim({ taskTypes: [lease.taskType], waitTimeoutMs: 5_000, steps: true })).body;
    const [later] = leases as [Lease];
    expect(later.steps).toEqual([{ key: 'load#3@2', result: stored.result }]);
    expect((await worker.finishStep(later, 1, 'load#3@2', null)).body).toMatchObject(stored);
    expectError(await worker.finishStep(lease, 4, 'late', 1), 409, 'LEASE_LOST');
    expect(await stepsOf(lease.taskId)).toEqual([{ key: 'load#3@2', state: 'completed', attempt: 1 }]);
    await worker.complete(later);
  });

  it('that is finished is leased to no worker that does not know steps', async () => {
    const lease = await leased();
    expect(lease.steps).toBeUndefined();
    await worker.finishStep(lease, 1, 'load', 1);
    await worker.release(lease);
    const claim = { taskTypes: [lease.taskType], waitTimeoutMs: 1_200 };
    expect((await worker.claim(claim)).body.leases).toEqual([]);
    const { leases } = (await worker.claim({ ...claim, steps: true })).body;
    expect(leases).toMatchObject([{ taskId: lease.taskId, attempt: 2, steps: [{ key: 'load', result: 1 }] }]);
    await worker.complete(leases[0] as Lease);
  });

  it('is refused where its key, its result or its size is wrong, and the number stays free', async () => {
    const lease = await leased();
    for (const key of ['', 'a b', 'k'.repeat(129), 'a#', 'a@2#1', 'ä']) {
      expectError(await worker.finishStep(lease, 1, key, 1), 422, 'REQUEST_VALIDATION_ERROR');
    }
    expectError(await worker.call(lease, 'steps', { batchSeq: 1, key: 'a' }), 422, 'REQUEST_VALIDATION_ERROR');
    expectError(await worker.finishStep(lease, 1, 'a', 'x'.repeat(65_535)), 413, 'PAYLOAD_TOO_LARGE');
    expect((await worker.finishStep(lease, 1, 'k'.repeat(128), 'x'.repeat(65_534))).status).toBe(200);
    await worker.complete(lease);
  });

  it('is tried again only in words of an attempt, and voids nothing that is finished', async () => {
    const lease = await leased();
    const retry = (supersedesAfterEventId: string, more = {}) => [
      { type: 'TASK_STEP', payload: { key: 'draft', state: 'retrying', supersedesAfterEventId, ...more } },
    ];
    await worker.events(lease, 1, [output('valid')]);
    await worker.finishStep(lease, 2, 'a', 1);
    await worker.events(lease, 3, [output('void')]);
    for (const events of [retry('2'), retry('5'), retry('3', { state: 'completed' }), retry('3', { attempt: 1 })]) {
      expectError(await worker.events(lease, 4, events), 422, 'REQUEST_VALIDATION_ERROR');
    }
    expect((await worker.events(lease, 4, retry('3'))).body.eventIds).toEqual(['5']);
    await worker.complete(lease);
  });
});

describe('A lease', () => {
  const expiryOf = async ({ taskId }: Held): Promise<number> => {
    const sql = 'SELECT lease_expires_at FROM taskbridge.proj_tasks WHERE task_id = $1';
    return (await superuser.query<{ lease_expires_at: Date }>(sql, [taskId])).rows[0]?.lease_expires_at.getTime() ?? 0;
  };

  it.each(['heartbeat', 'events', 'events that are repeated'])('lasts longer with every %s', async (call) => {
    const lease = await leased();
    if (call === 'events that are repeated') await worker.events(lease, 1, [progress(1)]);
    const sql = `UPDATE taskbridge.proj_tasks SET lease_expires_at = now() + interval '5 s' WHERE task_id = $1`;
    await superuser.query(sql, [lease.taskId]);
    const answer = call === 'heartbeat' ? await worker.heartbeat(lease) : await worker.events(lease, 1, [progress(1)]);
    expect(answer.status).toBe(200);
    const lasts = Date.parse(answer.body.leaseExpiresAt) - Date.now();
    expect(lasts).toBeGreaterThan(25_000);
    expect(lasts).toBeLessThan(31_000);
    expect(await expiryOf(lease)).toBe(Date.parse(answer.body.leaseExpiresAt));
  });

  it('is not made longer by a call that is refused', async () => {
    const lease = await leased();
    const before = await everythingOf(lease.taskId);
    expectError(await worker.events(lease, 5, [progress(1)]), 409, 'BATCH_OUT_OF_ORDER');
    expectFieldErrors(await worker.call(lease, 'fail', { code: 'X' }));
    expectError(await worker.heartbeat({ ...lease, leaseToken: '1.guessed' }), 409, 'LEASE_LOST');
    expect(await everythingOf(lease.taskId)).toEqual(before);
  });

  it('answers a heartbeat with when it ends, and nothing of a cancellation while there is none', async () => {
    const answer = await worker.heartbeat(await leased());
    expect([answer.status, answer.body]).toEqual([
      200,
      { leaseExpiresAt: expect.stringMatching(TIMESTAMP), cancellationRequested: false },
    ]);
  });

  describe.each(Object.entries(CALLS))('on %s', (name, call) => {
    /** Each way to lose a lease. Answers the token that is worth nothing any more. */
    const WAYS: Readonly<Record<string, () => Promise<Held>>> = {
      'has expired, seen by nobody': async () => {
        const lease = await leased();
        // Its task is locked by nobody; the reaper may come before the call or after, the answer is the same.
        await expire(lease);
        return lease;
      },
      'has expired and was taken back': async () => {
        const lease = await leased();
        await expire(lease);
        await retried(lease.taskId);
        return lease;
      },
      'has gone to another worker': async () => {
        const lease = await leased();
        await expire(lease);
        await retried(lease.taskId);
        await skipBackoff(lease.taskId);
        await worker.lease(lease.taskType);
        return lease;
      },
      'has ended with the task': async () => {
        const lease = await leased();
        await worker.complete(lease, 'another result');
        return lease;
      },
      'has ended with a question': async () => {
        const lease = await leased();
        await worker.suspend(lease, question({ reasonCode: 'ANOTHER' }));
        return lease;
      },
      'is made up': async () => ({ ...(await leased()), leaseToken: '1.4f9c2b54-0000-4000-8000-000000000000' }),
      'is another task’s': async () => ({ ...(await leased()), leaseToken: (await leased()).leaseToken }),
    };

    // A heartbeat revives what nobody took.
    const ways = Object.entries(WAYS).filter(([way]) => name !== 'heartbeat' || way !== 'has expired, seen by nobody');

    it.each(ways)('is lost when it %s, and nothing is stored', async (way, lost) => {
      const held = await lost();
      // Between the expiry and the reaper's round the task changes by itself.
      const settled = way !== 'has expired, seen by nobody';
      const before = await everythingOf(held.taskId);
      expectError(await call(worker, held), 409, 'LEASE_LOST');
      if (settled) expect(await everythingOf(held.taskId)).toEqual(before);
      else expect(await typesOf(held.taskId)).not.toContain('TASK_PROGRESS');
    });

    it('is lost alike on a task that there is not, or that cannot be', async () => {
      for (const taskId of ['0199f7a4-0000-7000-8000-000000000000', 'no-task', '%00']) {
        expectError(await call(worker, { taskId, leaseToken: '1.x' }), 409, 'LEASE_LOST');
      }
    });

    it('is proved by the token alone, from any worker and with any worker token', async () => {
      const lease = await leased();
      const other = new WorkerClient(service.url, uniqueId('other'), OTHER_TOKEN);
      expect((await call(other, lease)).status).toBe(name === 'release' ? 204 : 200);
    });
  });

  it('that has expired is revived by a heartbeat, or was taken before it: never both', async () => {
    const seen = { revived: 0, taken: 0 };
    for (let n = 0; n < 50 || Math.min(seen.revived, seen.taken) === 0; n++) {
      const lease = await leased();
      await expire(lease);
      // Longer and longer, until the reaper's round comes first.
      await delay(n * 10);
      const answer = await worker.heartbeat(lease);
      const appended = await worker.events(lease, 1, [progress(1)]);
      if (answer.status === 200) {
        expect(appended.status).toBe(200);
        expect(await typesOf(lease.taskId)).toEqual(['TASK_STARTED', 'TASK_PROGRESS']);
      } else {
        expectError(answer, 409, 'LEASE_LOST');
        expectError(appended, 409, 'LEASE_LOST');
        expect(await typesOf(lease.taskId)).toEqual(['TASK_STARTED', 'TASK_RETRYING']);
      }
      seen[answer.status === 200 ? 'revived' : 'taken'] += 1;
    }
  });

  it('that ends unseen leads to the next attempt after a backoff, and the token names it', async () => {
    const lease = await leased();
    await worker.events(lease, 1, [output('void')]);
    await expire(lease);
    await retried(lease.taskId);
    expect((await lastOf(lease.taskId))?.payload).toEqual({
      attempt: 2,
      reason: 'lease_expired',
      supersedesAfterEventId: '1',
      notBefore: expect.any(String),
    });
    const backoffMs = await backoffMsOf(lease.taskId);
    expect(backoffMs).toBeGreaterThanOrEqual(490);
    expect(backoffMs).toBeLessThanOrEqual(1_510);
    expect((await worker.claim({ taskTypes: [lease.taskType] })).body.leases).toEqual([]);
    await skipBackoff(lease.taskId);
    const next = await worker.lease(lease.taskType);
    expect(next).toMatchObject({ taskId: lease.taskId, attempt: 2, headEventId: '3' });
    expect(next.leaseToken).not.toBe(lease.leaseToken);
    expect((await worker.events(next, 1, [output('anew')])).body.eventIds).toEqual(['4']);
    expect((await lastOf(lease.taskId))?.payload['attempt']).toBe(2);
    expect((await worker.complete(next)).status).toBe(200);
  });

  it('that is lost by every attempt fails the task as STALLED', async () => {
    const taskType = newType();
    const taskId = await created(taskType);
    for (let attempt = 1; attempt <= 3; attempt++) {
      await skipBackoff(taskId);
      const lease = await worker.lease(taskType);
      expect(lease.attempt).toBe(attempt);
      await expire(lease);
      await eventually('it is noticed', async () => (await logOf(taskId)).length > attempt);
    }
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_RETRYING', 'TASK_RETRYING', 'TASK_FAILED']);
    expect((await lastOf(taskId))?.payload).toEqual({ code: 'STALLED', message: expect.any(String), retryable: true });
  });
});

describe('A cancellation', () => {
  const cancelling = async (reason?: string): Promise<Lease> => {
    const lease = await leased();
    const answer = await client.cancel(lease.taskId, reason === undefined ? undefined : { reason });
    expect([answer.status, answer.body.status]).toEqual([202, 'CANCELLATION_REQUESTED']);
    return lease;
  };

  it('is learned from a heartbeat, with its reason', async () => {
    const lease = await cancelling('too slow');
    expect((await worker.heartbeat(lease)).body).toMatchObject({
      cancellationRequested: true,
      cancelReason: 'too slow',
    });
  });

  it('is learned from the answer to a batch, new or repeated', async () => {
    const lease = await cancelling();
    expect((await worker.events(lease, 1, [progress(1)])).body.cancellationRequested).toBe(true);
    expect((await worker.events(lease, 1, [progress(1)])).body.cancellationRequested).toBe(true);
  });

  it.each([null, '', undefined])(
    'is obeyed with the reason of the request when the worker gives %j',
    async (reason) => {
      const lease = await cancelling('too slow');
      expect((await worker.call(lease, 'cancelled', { reason })).status).toBe(200);
      expect((await lastOf(lease.taskId))?.payload).toEqual({ reason: 'too slow' });
    },
  );

  it('is obeyed with the reason of the request', async () => {
    const lease = await cancelling('too slow');
    const answer = await worker.cancelled(lease, 'as you wish');
    expect([answer.status, answer.body]).toEqual([200, { eventId: '2' }]);
    expect(await lastOf(lease.taskId)).toMatchObject({ type: 'TASK_CANCELLED', payload: { reason: 'too slow' } });
    expect((await client.snapshot(lease.taskId)).body.status).toBe('CANCELLED');
  });

  it('says cancelled_by_user when the request gave no reason', async () => {
    const lease = await cancelling();
    await worker.cancelled(lease);
    expect((await lastOf(lease.taskId))?.payload).toEqual({ reason: 'cancelled_by_user' });
  });

  it('comes too late for a worker that completes', async () => {
    const lease = await cancelling();
    expect((await worker.complete(lease, 42)).status).toBe(200);
    expect(await lastOf(lease.taskId)).toMatchObject({ type: 'TASK_COMPLETED', payload: { result: 42 } });
  });

  it('comes too late for a worker that fails for good', async () => {
    const lease = await cancelling();
    expect((await worker.fail(lease, { retryable: false })).body).toEqual({ eventId: '2', willRetry: false });
    expect((await lastOf(lease.taskId))?.type).toBe('TASK_FAILED');
  });

  it.each([
    ['a retryable failure', (lease: Lease) => worker.fail(lease, { retryable: true })],
    ['a release', (lease: Lease) => worker.release(lease)],
    ['a question', (lease: Lease) => worker.suspend(lease)],
    ['a lost lease', (lease: Lease) => expire(lease)],
  ])('ends the task at %s: no new attempt begins', async (_, end) => {
    const lease = await cancelling('enough');
    await end(lease);
    await eventually('the task is over', async () => (await client.snapshot(lease.taskId)).body.status === 'CANCELLED');
    expect(await typesOf(lease.taskId)).toEqual(['TASK_STARTED', 'TASK_CANCELLED']);
    expect((await lastOf(lease.taskId))?.payload['reason']).toBe('enough');
    expect((await worker.claim({ taskTypes: [lease.taskType] })).body.leases).toEqual([]);
  });

  it.each(['waits for its first attempt', 'waits for a retry'])('of a task that %s ends it at once', async (state) => {
    const taskType = newType();
    const taskId = await created(taskType);
    if (state === 'waits for a retry') await worker.fail(await worker.lease(taskType), { retryable: true });
    await client.cancel(taskId);
    expect((await client.snapshot(taskId)).body.status).toBe('CANCELLED');
    await skipBackoff(taskId);
    expect((await worker.claim({ taskTypes: [taskType] })).body.leases).toEqual([]);
  });

  it('that nobody obeys is forced after the grace period, and the worker fenced', async () => {
    const strict = await started({ CANCEL_GRACE_SECONDS: '1' });
    const lease = await cancelling('enough');
    const since = Date.now();
    await eventually('it is forced', async () => (await client.snapshot(lease.taskId)).body.status === 'CANCELLED');
    expect(Date.now() - since).toBeGreaterThan(700);
    expect((await lastOf(lease.taskId))?.payload).toEqual({ reason: 'enough', message: 'CANCEL_FORCED' });
    for (const call of Object.values(CALLS)) expectError(await call(worker, lease), 409, 'LEASE_LOST');
    await strict.stop();
  });
});

describe('The end of an attempt', () => {
  /** Bodies may be larger there than what they may lead to, and attempts are many. */
  let roomy: Service;

  beforeAll(async () => {
    roomy = await started({ MAX_REQUEST_BODY_SIZE_BYTES: String(4 * 1024 * 1024), TASK_MAX_ATTEMPTS: '8' });
  });

  afterAll(() => roomy.stop());

  const ENDS: Readonly<Record<string, { readonly name: string; readonly body: object; readonly other: object }>> = {
    complete: { name: 'complete', body: { result: { a: 1, b: [2] } }, other: { result: { a: 1, b: [3] } } },
    'fail for good': {
      name: 'fail',
      body: { code: 'BROKEN', message: 'It broke.', retryable: false },
      other: { code: 'BROKEN', message: 'It is broken.', retryable: false },
    },
    'fail for now': {
      name: 'fail',
      body: { code: 'BUSY', message: 'Not now.', retryable: true, retryAfterMs: 0 },
      other: { code: 'BUSY', message: 'Not now.', retryable: true, retryAfterMs: 1 },
    },
    'suspend without an id': { name: 'suspend', body: question(), other: question({ reasonCode: 'OTHER' }) },
    'suspend under an id': {
      name: 'suspend',
      body: question({ suspendId: 'q1', interaction: { text: 'Go?' } }),
      other: question({ suspendId: 'q2', interaction: { text: 'Go?' } }),
    },
    cancelled: { name: 'cancelled', body: { reason: 'gave up' }, other: {} },
    release: { name: 'release', body: {}, other: { never: 'sent' } },
  };

  describe.each(Object.entries(ENDS))('with %s', (_, { name, body, other }) => {
    it('is answered again as before, and stored once', async () => {
      const lease = await leased();
      const first = await worker.call(lease, name, body);
      expect(first.status).toBe(name === 'release' ? 204 : 200);
      const before = await everythingOf(lease.taskId);
      for (let n = 0; n < 2; n++) {
        const again = await worker.call(lease, name, body);
        expect([again.status, again.body]).toEqual([first.status, first.body]);
      }
      expect(await everythingOf(lease.taskId)).toEqual(before);
    });

    it('is stored once when it comes eight times at once', async () => {
      const lease = await leased();
      const answers = await Promise.all(Array.from({ length: 8 }, () => worker.call(lease, name, body)));
      for (const answer of answers)
        expect([answer.status, answer.text]).toEqual([answers[0]?.status, answers[0]?.text]);
      expect(answers[0]?.status).toBeLessThan(300);
      expect(await logOf(lease.taskId)).toHaveLength(2);
    });

    it('is the same call with its members in another order', async () => {
      const lease = await leased();
      const first = await worker.call(lease, name, body);
      const again = await worker.call(lease, name, reversed(body));
      expect([again.status, again.body]).toEqual([first.status, first.body]);
    });

    it('does not stand for another call', async () => {
      const lease = await leased();
      await worker.call(lease, name, body);
      const before = await everythingOf(lease.taskId);
      for (const [otherName, call] of Object.entries(CALLS)) {
        if (otherName !== name) expectError(await call(worker, lease), 409, 'LEASE_LOST');
      }
      if (name !== 'release') expectError(await worker.call(lease, name, other), 409, 'LEASE_LOST');
      expect(await everythingOf(lease.taskId)).toEqual(before);
    });
  });

  it('is answered again also when the next attempt has begun', async () => {
    const lease = await leased();
    const first = await worker.fail(lease, { retryable: true, retryAfterMs: 0 });
    const next = await worker.lease(lease.taskType);
    const before = await everythingOf(lease.taskId);
    const again = await worker.fail(lease, { retryable: true, retryAfterMs: 0 });
    expect([again.status, again.body]).toEqual([200, first.body]);
    expect(await everythingOf(lease.taskId)).toEqual(before);
    expect((await worker.complete(next)).status).toBe(200);
  });

  it('completes with any JSON', async () => {
    for (const result of [null, 0, '', false, [1, { a: 'é\u2028' }], { deep: { er: [] } }]) {
      const lease = await leased();
      expect((await worker.complete(lease, result)).body).toEqual({ eventId: '2' });
      expect((await client.snapshot(lease.taskId)).body).toMatchObject({ status: 'COMPLETED', result });
    }
  });

  it('has to say its result', async () => {
    expectFieldErrors(await worker.call(await leased(), 'complete', {}));
  });

  it.each([
    ['a result above 1 MiB', 'complete', { result: 'x'.repeat(1024 * 1024 + 1) }],
    ['a question above 64 KiB', 'suspend', question({ interaction: { text: 'x'.repeat(65_536) } })],
  ])('with %s is too large, and does not happen', async (_, name, body) => {
    const lease = await leased();
    const before = await everythingOf(lease.taskId);
    expectError(await new WorkerClient(roomy.url).call(lease, name, body), 413, 'PAYLOAD_TOO_LARGE');
    expect(await everythingOf(lease.taskId)).toEqual(before);
  });

  it('with a failure that will be retried says so, and keeps the task back for a backoff that grows', async () => {
    const taskType = newType();
    const taskId = await created(taskType);
    const by = new WorkerClient(roomy.url);
    for (let spent = 1; spent <= 6; spent++) {
      await skipBackoff(taskId);
      const lease = await by.lease(taskType);
      const answer = await by.fail(lease, { retryable: true, code: 'BUSY', message: 'Not now.' });
      expect(answer.body).toEqual({ eventId: String(spent + 1), willRetry: true });
      const middle = Math.min(1_000 * 2 ** (spent - 1), 10_000);
      const backoffMs = await backoffMsOf(taskId);
      expect(backoffMs).toBeGreaterThanOrEqual(middle / 2 - 10);
      expect(backoffMs).toBeLessThanOrEqual(Math.min(middle * 1.5, 10_000) + 10);
    }
    expect((await logOf(taskId))[1]?.payload).toEqual({
      attempt: 2,
      reason: 'BUSY',
      supersedesAfterEventId: '1',
      notBefore: expect.any(String),
    });
  });

  it('with a failure may say when to try again, in place of the backoff', async () => {
    const lease = await leased();
    await worker.fail(lease, { retryable: true, retryAfterMs: 86_400_000 });
    expect(Math.round((await backoffMsOf(lease.taskId)) / 1_000)).toBe(86_400);
  });

  it('with a failure that is not retryable fails the task with its words', async () => {
    const lease = await leased();
    const answer = await worker.fail(lease, { retryable: false, code: 'BAD_INPUT', message: 'No such file.' });
    expect([answer.status, answer.body]).toEqual([200, { eventId: '2', willRetry: false }]);
    const failure = { code: 'BAD_INPUT', message: 'No such file.', retryable: false };
    expect((await client.snapshot(lease.taskId)).body).toMatchObject({ status: 'FAILED', failure });
  });

  it('with a failure of the last attempt fails the task; releases between do not count', async () => {
    const taskType = newType();
    const taskId = await created(taskType);
    const fail = async () => worker.fail(await worker.lease(taskType), { retryable: true, retryAfterMs: 0 });
    const release = async () => worker.release(await worker.lease(taskType));
    for (let n = 0; n < 4; n++) expect((await release()).status).toBe(204);
    expect((await fail()).body.willRetry).toBe(true);
    await release();
    expect((await fail()).body.willRetry).toBe(true);
    await release();
    expect((await fail()).body.willRetry).toBe(false);
    const log = await logOf(taskId);
    expect(log.slice(1).map(({ type, payload }) => [type, payload['attempt'], payload['reason']])).toEqual([
      ['TASK_RETRYING', 2, 'released'],
      ['TASK_RETRYING', 3, 'released'],
      ['TASK_RETRYING', 4, 'released'],
      ['TASK_RETRYING', 5, 'released'],
      ['TASK_RETRYING', 6, 'BROKEN'],
      ['TASK_RETRYING', 7, 'released'],
      ['TASK_RETRYING', 8, 'BROKEN'],
      ['TASK_RETRYING', 9, 'released'],
      ['TASK_FAILED', undefined, undefined],
    ]);
    expect(log.at(-1)?.payload).toEqual({ code: 'BROKEN', message: 'It broke.', retryable: true });
  });

  it('with a release lets the next worker begin at once, a new attempt that supersedes what was put out', async () => {
    const lease = await leased();
    await worker.events(lease, 1, [output('void'), progress(80)]);
    const answer = await worker.release(lease);
    expect([answer.status, answer.text]).toEqual([204, '']);
    expect((await lastOf(lease.taskId))?.payload).toEqual({
      attempt: 2,
      reason: 'released',
      supersedesAfterEventId: '1',
      notBefore: expect.any(String),
    });
    expect(await worker.lease(lease.taskType)).toMatchObject({ attempt: 2, headEventId: '4' });
  });

  it.each([
    ['fail without a code', 'fail', { message: '', retryable: true }, 'code'],
    ['fail without a word on whether to retry', 'fail', { code: 'A', message: '' }, 'retryable'],
    ['fail since before', 'fail', { code: 'A', message: '', retryable: true, retryAfterMs: -1 }, 'retryAfterMs'],
    ['suspend of an unknown kind', 'suspend', question({ kind: 'TIRED' }), 'kind'],
    ['suspend with nothing allowed', 'suspend', question({ allowedActions: [] }), 'allowedActions'],
    ['suspend with an action that is no text', 'suspend', question({ allowedActions: ['a', 1] }), 'allowedActions'],
    ['suspend without a reason', 'suspend', question({ reasonCode: undefined }), 'reasonCode'],
    ['suspend with schema 0', 'suspend', question({ schemaVersion: 0 }), 'schemaVersion'],
    ['suspend with an interaction that is text', 'suspend', question({ interaction: 'hm' }), 'interaction'],
    ['suspend until tomorrow', 'suspend', question({ expiresAt: 'tomorrow' }), 'expiresAt'],
    ['suspend until a day that there is not', 'suspend', question({ expiresAt: '2030-02-30T00:00:00Z' }), 'expiresAt'],
    ['suspend until a 25th hour', 'suspend', question({ expiresAt: '2030-01-01T25:00:00Z' }), 'expiresAt'],
    [
      'suspend until a year that there was not',
      'suspend',
      question({ expiresAt: '0000-01-01T00:00:00Z' }),
      'expiresAt',
    ],
    ['suspend until null', 'suspend', question({ expiresAt: null }), 'expiresAt'],
    ['cancel for a number', 'cancelled', { reason: 1 }, 'reason'],
    ['release with more', 'release', { why: 'x' }, 'why'],
    ['heartbeat with more', 'heartbeat', { progress: 5 }, 'progress'],
  ])('as %s is refused', async (_, name, body, path) => {
    const lease = await leased();
    const before = await everythingOf(lease.taskId);
    const errors = expectFieldErrors(await worker.call(lease, name, body));
    expect(errors.map((error) => error.path)).toContain(path);
    expect(await everythingOf(lease.taskId)).toEqual(before);
  });
});

describe('A question', () => {
  const answer = async (taskId: string, suspendId: string, overrides = {}) => {
    const action = { clientActionId: uniqueId('action'), suspendId, actionType: 'approve', ...overrides };
    const { status, body } = await client.act(taskId, action);
    expect([status, body.status]).toEqual([202, 'ACCEPTED']);
    return action;
  };

  it('is stored as it was asked, and the lease is over', async () => {
    const lease = await leased();
    const asked = question({
      suspendId: 'confirm:1',
      schemaVersion: 3,
      interaction: { text: 'Go?' },
      uiHints: { danger: true },
      expiresAt: '2999-01-01T00:00:00Z',
    });
    const { status, body } = await worker.suspend(lease, asked);
    expect([status, body]).toEqual([200, { suspendId: 'confirm:1', eventId: '2' }]);
    expect(await lastOf(lease.taskId)).toMatchObject({ type: 'TASK_SUSPENDED', payload: asked });
    expect((await client.snapshot(lease.taskId)).body).toMatchObject({ status: 'RUNNING', openSuspension: asked });
    expectError(await worker.heartbeat(lease), 409, 'LEASE_LOST');
    expect((await worker.claim({ taskTypes: [lease.taskType] })).body.leases).toEqual([]);
  });

  it('gets an id when it has none, which does not give the token away', async () => {
    const lease = await leased();
    const { suspendId } = (await worker.suspend(lease)).body;
    expect(suspendId).toMatch(/^[\x21-\x7e]{8,255}$/);
    expect(suspendId).not.toContain(lease.leaseToken);
    expect((await lastOf(lease.taskId))?.payload).toEqual({ suspendId, schemaVersion: 1, ...question() });
  });

  it('that is answered wakes a waiting worker, with the same attempt, a new token and batches from 1', async () => {
    const lease = await leased();
    await worker.events(lease, 1, [progress(1)]);
    await worker.events(lease, 2, [progress(2)]);
    const { suspendId } = (await worker.suspend(lease)).body;
    const waiting = worker.lease(lease.taskType);
    const action = await answer(lease.taskId, suspendId, { payload: { note: 'fine' } });
    const resumed = await waiting;
    const resume = { ...action, actorId: client.principal };
    expect(resumed).toMatchObject({ taskId: lease.taskId, attempt: 1, headEventId: '6', resume, answers: [resume] });
    expect(resumed.leaseToken).not.toBe(lease.leaseToken);
    expectError(await worker.events(resumed, 3, [progress(3)]), 409, 'BATCH_OUT_OF_ORDER');
    // Behind TASK_RESUMED: it had put something out before it asked.
    expect((await worker.events(resumed, 1, [progress(3)])).body.eventIds).toEqual(['7']);
    expectError(await worker.events(lease, 1, [progress(1)]), 409, 'LEASE_LOST');
    await worker.complete(resumed);
    expect(await typesOf(lease.taskId)).toEqual([
      'TASK_STARTED',
      'TASK_PROGRESS',
      'TASK_PROGRESS',
      'TASK_SUSPENDED',
      'TASK_ACTION_ACCEPTED',
      'TASK_RESUMED',
      'TASK_PROGRESS',
      'TASK_COMPLETED',
    ]);
  });

  it('has its answer repeated to later attempts, and all answers before it', async () => {
    const lease = await leased();
    await worker.suspend(lease, question({ suspendId: 'first' }));
    const first = await answer(lease.taskId, 'first');
    const second = await worker.lease(lease.taskType);
    await worker.suspend(second, question({ suspendId: 'second' }));
    const last = await answer(lease.taskId, 'second', { actionType: 'reject', payload: { n: 2 } });
    const third = await worker.lease(lease.taskType);
    expect(third.attempt).toBe(1);
    await worker.fail(third, { retryable: true, retryAfterMs: 0 });
    const next = await worker.lease(lease.taskType);
    expect(next).toMatchObject({
      attempt: 2,
      resume: { ...last, actorId: client.principal },
      answers: [{ ...first, payload: {} }, last],
    });
    expect((await lastOf(lease.taskId))?.payload).toMatchObject({ attempt: 2, supersedesAfterEventId: '1' });
  });

  it('asked under an id that was used before is refused, and the lease lives on', async () => {
    const lease = await leased();
    await worker.suspend(lease, question({ suspendId: 'same' }));
    await answer(lease.taskId, 'same');
    const resumed = await worker.lease(lease.taskType);
    const before = await everythingOf(lease.taskId);
    expectError(await worker.suspend(resumed, question({ suspendId: 'same' })), 409, 'INVALID_TASK_STATE');
    expect(await everythingOf(lease.taskId)).toEqual(before);
    expect((await worker.suspend(resumed, question({ suspendId: 'other' }))).status).toBe(200);
  });

  it('is not counted as an attempt, nor is the lease that goes on after it', async () => {
    const taskType = newType();
    const taskId = await created(taskType);
    for (let n = 1; n <= 5; n++) {
      const lease = await worker.lease(taskType);
      expect(lease.attempt).toBe(1);
      await worker.suspend(lease, question({ suspendId: `q${n}` }));
      await answer(taskId, `q${n}`);
    }
    expect((await worker.fail(await worker.lease(taskType), { retryable: true })).body.willRetry).toBe(true);
  });

  it('whose answered lease is lost goes on in a new attempt with the answer', async () => {
    const lease = await leased();
    await worker.suspend(lease, question({ suspendId: 'q' }));
    const action = await answer(lease.taskId, 'q');
    await expire(await worker.lease(lease.taskType));
    await retried(lease.taskId);
    await skipBackoff(lease.taskId);
    expect(await worker.lease(lease.taskType)).toMatchObject({ attempt: 2, resume: action });
  });
});

describe('After all that', () => {
  it('every guarantee holds', () => checkInvariants(database.superuserUrl));
});

/** The same JSON, its members the other way round at every level. */
function reversed(value: unknown): object {
  return JSON.parse(
    JSON.stringify(value, (_, member: unknown) =>
      typeof member === 'object' && member !== null && !Array.isArray(member)
        ? Object.fromEntries(Object.entries(member).toReversed())
        : member,
    ),
  ) as object;
}
