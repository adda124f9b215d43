import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { TaskPolicy } from '#protocol/policies.js';
import { Client, type CreateBody, expectError, expectFieldErrors, newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, runToExit, type Service, startService } from '../support/service.js';
import { WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

interface Shown {
  readonly taskId: string;
  readonly status: string;
  readonly waitingFor?: string;
  readonly attempt: number;
  readonly attemptsLeft: number;
  readonly failure?: { readonly code: string };
  readonly createdAt: string;
  readonly startedAt?: string;
}

interface TypeState {
  readonly policy: TaskPolicy;
  readonly from: Readonly<Record<string, string>>;
  readonly paused?: { readonly since: string; readonly by: string; readonly reason?: string };
}

const PAGE = readFileSync(new URL('../../docs/queue.md', import.meta.url), 'utf8');
const blocksOf = (language: string) =>
  [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, text = '']) => text);

/** The examples of the page, each of which a test below runs. */
const EXAMPLES = Object.assign({}, ...blocksOf('json').map((text) => JSON.parse(text) as object)) as Record<
  string,
  TaskPolicy
>;
const tried = new Set<string>();
function example(taskType: string): string {
  if (!EXAMPLES[taskType]) throw new Error(`docs/queue.md has no example for ${taskType}`);
  tried.add(taskType);
  return taskType;
}

describe('Policies', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;
  let operator: Client;
  let worker: WorkerClient;
  const more: Service[] = [];

  const env = () => ({
    DATABASE_URL: database.appUrl,
    ...WITH_WORKERS,
    LEASE_SECONDS: '30',
    TASK_TYPES: JSON.stringify(EXAMPLES),
  });

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService(env(), { lifetime: 'file' });
    client = newPrincipal(service.url);
    operator = new Client(service.url);
    worker = new WorkerClient(service.url);
  });

  afterEach(async () => {
    await Promise.all(more.splice(0).map((one) => one.stop()));
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  async function create(taskType: string, body: Partial<CreateBody> = {}, by = client): Promise<string> {
    const { status, body: created, text } = await by.create({ clientRequestId: uniqueId(), taskType, ...body });
    if (status !== 201) throw new Error(`${status} ${text}`);
    return created.taskId;
  }

  const shown = async (taskId: string, by = client) => (await by.snapshot(taskId)).body as unknown as Shown;
  const shows = (taskId: string, expected: Partial<Shown>, by = client) =>
    eventually(JSON.stringify(expected), async () => {
      const task = await shown(taskId, by);
      expect(task).toMatchObject(expected);
      return task;
    });
  const claim = async (taskType: string, waitTimeoutMs = 0, maxTasks = 10) =>
    (await worker.claim({ taskTypes: [taskType], waitTimeoutMs, maxTasks })).body.leases;
  const type = (taskType: string) =>
    operator.request<TypeState>('GET', `/api/v1/task-types/${encodeURIComponent(taskType)}`);

  describe('that limit what runs', () => {
    it('say of a task that waits why it waits, and free the next one with an end', async () => {
      const [first, second] = [await create(example('report.build')), await create('report.build')];
      const [lease, ...others] = await claim('report.build');
      expect({ taskId: lease?.taskId, others }).toEqual({ taskId: first, others: [] });
      await shows(second, { waitingFor: 'concurrency' });
      if (lease) await worker.complete(lease);
      expect((await claim('report.build', 5_000)).map(({ taskId }) => taskId)).toEqual([second]);
    });

    it('count each owner by itself', async () => {
      const other = newPrincipal(service.url);
      const mine = [await create(example('mail.send')), await create('mail.send')];
      const theirs = await create('mail.send', {}, other);
      const leases = await claim('mail.send');
      expect(leases.map(({ taskId }) => taskId).toSorted()).toEqual([mine[0], theirs].toSorted());
      await shows(mine[1] ?? '', { waitingFor: 'concurrency' });
      // A task that is held may be cancelled.
      await client.cancel(mine[1] ?? '');
      await shows(mine[1] ?? '', { status: 'CANCELLED' });
    });

    it('count each value of a key by itself, and tasks without a value not at all', async () => {
      const metadata = { customer: 'acme' };
      const [first, second] = [
        await create(example('customer.sync'), { metadata }),
        await create('customer.sync', { metadata }),
      ];
      const others = [
        await create('customer.sync', { metadata: { customer: 7 } }),
        await create('customer.sync'),
        await create('customer.sync'),
      ];
      const leases = await claim('customer.sync');
      expect(leases.map(({ taskId }) => taskId).toSorted()).toEqual([first, ...others].toSorted());
      await shows(second, { waitingFor: 'concurrency' });
      const lease = leases.find(({ taskId }) => taskId === first);
      if (lease) await worker.suspend(lease);
      // A suspended task does not count.
      expect((await claim('customer.sync', 5_000)).map(({ taskId }) => taskId)).toEqual([second]);
    });

    it('keep attempts apart that are too fast', async () => {
      const input = { site: 'example.org' };
      const [first, second] = [await create(example('site.crawl'), { input }), await create('site.crawl', { input })];
      const elsewhere = await create('site.crawl', { input: { site: 'example.com' } });
      const leases = await claim('site.crawl');
      expect(leases.map(({ taskId }) => taskId).toSorted()).toEqual([first, elsewhere].toSorted());
      await shows(second, { waitingFor: 'rate' });
    });
  });

  it('leave a lease alone on which release 0.1.0 has left the key of a task', async () => {
    const taskId = await create('p.old');
    const [lease] = await claim('p.old');
    await connected(database.superuserUrl, (db) =>
      db.query(
        `UPDATE taskbridge.proj_tasks SET hold_key = 'concurrency:owner:["p.old", "", "somebody"]' WHERE task_id = $1`,
        [taskId],
      ),
    );
    await delay(600);
    expect((await shown(taskId)).waitingFor).toBeUndefined();
    expect((await worker.complete(lease as never)).status).toBe(200);
    await shows(taskId, { status: 'COMPLETED' });
  });

  describe('about time', () => {
    it('begin a task neither before startAfter nor a second behind it', async () => {
      const at = Date.now() + 1_500;
      const taskId = await create('p.free', { startAfter: new Date(at).toISOString() });
      await shows(taskId, { waitingFor: 'start_time' });
      const [lease] = await claim('p.free', 10_000);
      const { startedAt = '' } = await shown(taskId);
      expect(lease?.taskId).toBe(taskId);
      expect(Date.parse(startedAt)).toBeGreaterThanOrEqual(at);
      expect(Date.parse(startedAt) - at).toBeLessThan(1_000);
    });

    it('count a delay from the creation', async () => {
      const taskId = await create('p.free', { delaySeconds: 1 });
      expect(await claim('p.free')).toEqual([]);
      const [lease] = await claim('p.free', 10_000);
      expect(lease?.taskId).toBe(taskId);
      const { createdAt, startedAt = '' } = await shown(taskId);
      expect(Date.parse(startedAt) - Date.parse(createdAt)).toBeGreaterThanOrEqual(999);
    });

    it('end a task behind its deadline, whether it waits, runs or asks', async () => {
      const deadline = new Date(Date.now() + 1_500).toISOString();
      const ids = await Promise.all(Array.from({ length: 3 }, () => create('p.free', { deadline })));
      const [, asked] = await claim('p.free', 0, 2);
      if (asked) await worker.suspend(asked);
      for (const taskId of ids)
        await shows(taskId, { status: 'FAILED', failure: expect.objectContaining({ code: 'EXPIRED' }) as never });
      expect(await claim('p.free')).toEqual([]);
    });

    it('end a task that did not begin, and one that did not end in time', async () => {
      const [late, begun] = [await create(example('quote.ask')), await create('quote.ask')];
      const [lease] = await claim('quote.ask', 0, 1);
      const unfinished = await create(example('order.ship'));
      await claim('order.ship');
      const open = lease?.taskId === late ? begun : late;
      await shows(open, { status: 'FAILED', failure: expect.objectContaining({ code: 'EXPIRED' }) as never });
      await shows(unfinished, { status: 'FAILED', failure: expect.objectContaining({ code: 'EXPIRED' }) as never });
      await shows(lease?.taskId ?? '', { status: 'RUNNING' });
    });

    it('end attempts that take too long, and count them', async () => {
      const taskId = await create(example('video.cut'));
      const [first] = await claim('video.cut');
      await shows(taskId, { attempt: 1, attemptsLeft: 1, waitingFor: 'retry' });
      expectError(await worker.complete(first as never), 409, 'LEASE_LOST');
      await claim('video.cut', 10_000);
      await shows(taskId, { status: 'FAILED', failure: expect.objectContaining({ code: 'TIMED_OUT' }) as never });
    });

    it('do not count the time in which an attempt waits for an answer', async () => {
      const taskId = await create('video.cut');
      const [lease] = await claim('video.cut');
      const { suspendId } = (await worker.suspend(lease as never)).body;
      await delay(1_500);
      await client.act(taskId, { clientActionId: 'a', suspendId, actionType: 'approve' });
      const [again] = await claim('video.cut', 5_000);
      expect(again?.attempt).toBe(1);
      expect((await worker.complete(again as never)).status).toBe(200);
    });

    it('wait between attempts as the type says, and allow the lower number of attempts', async () => {
      const taskId = await create(example('invoice.export'), { maxAttempts: 900 });
      expect((await shown(taskId)).attemptsLeft).toBe(2);
      const [lease] = await claim('invoice.export');
      await worker.fail(lease as never, { retryable: true });
      await shows(taskId, { waitingFor: 'retry', attemptsLeft: 1 });
      const once = await create('p.free', { maxAttempts: 1 });
      const [only] = await claim('p.free');
      await worker.fail(only as never, { retryable: true });
      await shows(once, { status: 'FAILED' });
    });

    it('end a running task at once whose type has no time to obey', async () => {
      const taskId = await create(example('rows.import'));
      await claim('rows.import');
      await client.cancel(taskId);
      await shows(taskId, { status: 'CANCELLED' });
    });
  });

  describe('of a create', () => {
    it('put a task before others, where the caller may prioritise', async () => {
      const taskType = uniqueId('p.prio');
      await create(taskType);
      expectError(await client.create({ clientRequestId: uniqueId(), taskType, priority: 9 }), 403, 'ACCESS_DENIED');
      const urgent = await create(taskType, { priority: 9 }, operator);
      expect((await claim(taskType, 0, 1)).map(({ taskId }) => taskId)).toEqual([urgent]);
    });

    it.each([
      [{ priority: 10 }, 'priority'],
      [{ priority: 1.5 }, 'priority'],
      [{ delaySeconds: -1 }, 'delaySeconds'],
      [{ startAfter: 'tomorrow' }, 'startAfter'],
      [{ startAfter: '2030-01-01T00:00:00Z', delaySeconds: 1 }, 'delaySeconds'],
      [{ deadline: '2030-02-30T00:00:00Z' }, 'deadline'],
      [{ maxAttempts: 0 }, 'maxAttempts'],
    ])('are refused as %j', async (body, path) => {
      const answer = await operator.create({ clientRequestId: uniqueId(), taskType: 'p.free', ...body });
      expect(expectFieldErrors(answer).map((error) => error.path)).toContain(path);
    });

    it('are no part of what makes a request the same', async () => {
      const clientRequestId = uniqueId();
      const taskType = uniqueId('p.same');
      const first = await client.create({ clientRequestId, taskType, delaySeconds: 60 });
      const again = await client.create({ clientRequestId, taskType, deadline: '2040-01-01T00:00:00Z' });
      expect({ status: again.status, taskId: again.body.taskId }).toEqual({ status: 200, taskId: first.body.taskId });
    });

    it('come in forms, too', async () => {
      const form = new FormData();
      form.set('clientRequestId', uniqueId());
      form.set('taskType', 'p.form');
      form.set('delaySeconds', '3600');
      form.set('attachment', new Blob(['hello']), 'a.txt');
      const { status, body } = await client.request<Shown>('POST', '/api/v1/tasks', { body: form });
      expect(status).toBe(201);
      await shows(body.taskId, { waitingFor: 'start_time' });
    });
  });

  describe('of workers', () => {
    const register = (policies: Record<string, unknown>, version = '1') =>
      worker.claim({ taskTypes: Object.keys(policies), version, policies });

    it('only narrow what the file sets', async () => {
      await register({
        'model.train': { maxRunning: 20, startToFinishSeconds: 30, maxRunningPerOwner: 3, maxAttempts: 900 },
      });
      const { body } = await type(example('model.train'));
      expect(body.policy).toEqual({ maxRunning: 10, startToFinishSeconds: 30, maxRunningPerOwner: 3 });
      expect(body.from).toEqual({
        maxRunning: 'file',
        startToFinishSeconds: 'worker:1',
        maxRunningPerOwner: 'worker:1',
      });
    });

    it('count from the very claim that brings them, and the version that was seen first last wins', async () => {
      const taskType = uniqueId('p.rolling');
      await Promise.all([create(taskType), create(taskType), create(taskType)]);
      const claimOf = (version: string, maxRunning: number) =>
        worker.claim({ taskTypes: [taskType], maxTasks: 10, version, policies: { [taskType]: { maxRunning } } });
      expect((await claimOf('1', 1)).body.leases).toHaveLength(1);
      expect((await claimOf('2', 2)).body.leases).toHaveLength(1);
      // A rolling update: workers of both versions claim.
      expect((await claimOf('1', 1)).body.leases).toHaveLength(0);
      expect((await type(taskType)).body).toMatchObject({
        policy: { maxRunning: 2 },
        from: { maxRunning: 'worker:2' },
      });
      expect(service.stdout()).toContain('"maxRunning":"worker:2"');
    });

    it.each([
      [{ 'p.bad': { backoff: { firstSeconds: 1, maxSeconds: 2 } } }, 'policies.p.bad.backoff'],
      [{ 'p.bad': { executor: 'lease' } }, 'policies.p.bad.executor'],
      [{ 'p.bad': { maxRunning: 0 } }, 'policies.p.bad.maxRunning'],
      [{ 'p.bad': { concurrencyKey: '/result/x' } }, 'policies.p.bad.concurrencyKey'],
      [{ 'p.bad': { maxRunningPerKey: 2 } }, 'policies.p.bad.maxRunningPerKey'],
      [{ 'p.bad': 7 }, 'policies.p.bad'],
    ])('are refused as %j', async (policies, path) => {
      expect(expectFieldErrors(await register(policies)).map((error) => error.path)).toEqual([path]);
    });

    it('are refused without a version, and for a type that is not claimed', async () => {
      const policies = { 'p.bad': { maxRunning: 1 } };
      const bare = await worker.claim({ taskTypes: ['p.bad'], policies });
      expect(expectFieldErrors(bare)).toEqual([{ path: 'version', message: 'is needed beside policies' }]);
      const strange = await worker.claim({ taskTypes: ['p.other'], version: '1', policies });
      expect(expectFieldErrors(strange).map(({ path }) => path)).toEqual(['policies.p.bad']);
    });
  });

  describe('with schemas', () => {
    const draw = (input: Record<string, unknown>, clientRequestId = uniqueId()) =>
      client.create({ clientRequestId, taskType: example('shape.draw'), input });

    it.each([
      [{}, 'input.sides'],
      [{ sides: 2 }, 'input.sides'],
      [{ sides: 3, name: 'A' }, 'input.name'],
      [{ sides: 3, extra: 1 }, 'input.extra'],
    ])('refuse the input %j with its path', async (input, path) => {
      expect(expectFieldErrors(await draw(input)).map((error) => error.path)).toEqual([path]);
    });

    it('take a right input, and end an attempt with a wrong result', async () => {
      const { status, body } = await draw({ sides: 3, name: 'triangle' });
      expect(status).toBe(201);
      const [lease] = await claim('shape.draw');
      expect(lease?.taskId).toBe(body.taskId);
      const wrong = await worker.complete(lease as never, { size: 1 });
      expect(expectFieldErrors(wrong)).toEqual([{ path: 'result.area', message: 'is required' }]);
      expect(expectError(wrong, 422, 'REQUEST_VALIDATION_ERROR').message).toMatch(/says: result\.area is required$/);
      expect((await worker.complete(lease as never, { area: 1 })).status).toBe(200);
    });

    it('refuse no repeat of a request that was accepted before', async () => {
      const taskType = uniqueId('p.later');
      const body = { clientRequestId: uniqueId(), taskType, input: { a: 1 } };
      expect((await client.create(body)).status).toBe(201);
      const policies = { [taskType]: { inputSchema: { required: ['b'] } } };
      expect((await worker.claim({ taskTypes: [taskType], version: '1', policies })).status).toBe(200);
      expect(
        expectFieldErrors(await client.create({ ...body, clientRequestId: uniqueId() })).map(({ path }) => path),
      ).toEqual(['input.b']);
      expect((await client.create(body)).status).toBe(200);
    });

    it.each<[string, object]>([
      ['inputSchema.$ref', { $ref: 'https://example.org/schema' }],
      ['inputSchema.$ref', { $ref: '#/$defs/nothing' }],
      ['inputSchema.$id', { $id: 'https://example.org/schema' }],
      ['inputSchema.properties.a.pattern', { properties: { a: { pattern: '(?=a)b' } } }],
      ['inputSchema.pattern', { pattern: '(a{100}){100}' }],
      ['inputSchema.uniqueItems', { uniqueItems: true }],
      ['inputSchema.type', { type: 'text' }],
      ['inputSchema.anyOf', { anyOf: [] }],
      ['', { description: 'x'.repeat(70_000) }],
    ])('are refused at %s', async (path, inputSchema) => {
      const answer = await worker.claim({ taskTypes: ['p.bad'], version: '1', policies: { 'p.bad': { inputSchema } } });
      expect(expectFieldErrors(answer).map((error) => error.path)).toEqual([
        ['policies.p.bad', ...(path === '' ? [] : [path])].join('.'),
      ]);
    });
  });

  describe('of operators', () => {
    const pause = (taskType: string, body: unknown = {}, by = operator) =>
      by.request<TypeState>('PUT', `/api/v1/task-types/${encodeURIComponent(taskType)}/pause`, {
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      });
    const resume = (taskType: string) =>
      operator.request<TypeState>('DELETE', `/api/v1/task-types/${encodeURIComponent(taskType)}/pause`);

    it('pause a type at once on all replicas, over restarts, and resume it', async () => {
      const taskType = `${uniqueId('p.paused')}/with:slash`;
      const other = await startService(env());
      more.push(other);
      const taskId = await create(taskType);
      const { status, body } = await pause(taskType, { reason: 'incident 7' });
      expect({ status, paused: body.paused }).toEqual({
        status: 200,
        paused: { since: expect.any(String), by: expect.any(String), reason: 'incident 7' },
      });
      const third = await startService(env());
      more.push(third);
      for (const { url } of [service, other, third]) {
        const { leases } = (await new WorkerClient(url).claim({ taskTypes: [taskType], waitTimeoutMs: 600 })).body;
        expect(leases).toEqual([]);
      }
      await shows(taskId, { waitingFor: 'paused' });
      expect((await pause(taskType, { reason: 'another' })).body.paused?.reason).toBe('incident 7');
      const waiting = new WorkerClient(other.url).claim({ taskTypes: [taskType], waitTimeoutMs: 10_000 });
      expect((await resume(taskType)).body.paused).toBeUndefined();
      expect((await waiting).body.leases.map((lease) => lease.taskId)).toEqual([taskId]);
      const audit = await connected(
        database.superuserUrl,
        async (db) =>
          (
            await db.query(
              'SELECT action, details FROM taskbridge.entries_audit WHERE subject = $1 ORDER BY created_at',
              [taskType],
            )
          ).rows,
      );
      expect(audit).toEqual([
        { action: 'pause_task_type', details: { reason: 'incident 7' } },
        { action: 'resume_task_type', details: {} },
      ]);
    });

    it('refuse who may not, and what is no type', async () => {
      expectError(await pause('p.free', {}, client), 403, 'ACCESS_DENIED');
      expectError(await pause('no type'), 400, 'INVALID_REQUEST');
      expect(expectFieldErrors(await pause('p.free', { reason: '' })).map(({ path }) => path)).toEqual(['reason']);
      expect((await pause('p.nul', { reason: 'a\u0000b' })).status).toBeLessThan(500);
    });
  });

  it.each([
    ['nonsense', 'TASK_TYPES'],
    ['[]', 'TASK_TYPES'],
    ['{"a b": {}}', 'TASK_TYPES'],
    ['{"x": {}, "y y": {}}', '"y y" is no task type'],
    ['{"x": 5}', 'x must be of type object'],
    ['{"a": {"maxRunning": "5"}}', 'a.maxRunning'],
    ['{"a": {"priority": 5}}', 'a.priority'],
    ['{"a": {"backoff": {"firstSeconds": 9, "maxSeconds": 2}}}', 'a.backoff.firstSeconds'],
  ])('are refused at the start as %s', async (TASK_TYPES, named) => {
    const { code, stderr, stdout } = await runToExit({ DATABASE_URL: database.appUrl, TASK_TYPES });
    expect(code).not.toBe(0);
    expect(stderr + stdout).toContain(named);
  });

  it('are given in commands that work', async () => {
    for (const command of blocksOf('sh')) {
      const output = execFileSync('bash', ['-ec', command.replaceAll('http://127.0.0.1:3000', service.url)], {
        encoding: 'utf8',
      });
      expect(output).toMatch(/"(taskType|taskId)":/);
    }
  });

  it('are all tried that the page has', () => {
    expect([...tried].toSorted()).toEqual(Object.keys(EXAMPLES).toSorted());
  });
});
