import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type Answer,
  Client,
  type CreateBody,
  type Created,
  type ErrorBody,
  expectError,
  expectFieldErrors,
  newPrincipal,
  rawRequest,
  type Snapshot,
  uniqueId,
} from '../support/client.js';
import { connected } from '../support/fold.js';
import { followWebSocket } from '../support/follow.js';
import { createTestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** A create that ends at once; a test names only what it is about. */
const echo = (overrides: Partial<CreateBody> = {}): CreateBody => ({
  clientRequestId: uniqueId('request'),
  taskType: 'demo.echo',
  input: { text: 'hello' },
  ...overrides,
});

const greet = (input: Record<string, unknown> = {}): CreateBody => ({
  clientRequestId: uniqueId('request'),
  taskType: 'demo.greet',
  input: { name: 'Ada', steps: 3, stepMs: 1, ...input },
});

const sleep = (ms = 60_000): CreateBody => ({
  clientRequestId: uniqueId('request'),
  taskType: 'demo.sleep',
  input: { ms },
});

describe('The task API', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService({ DATABASE_URL: database.appUrl, TASK_MAX_ATTEMPTS: '2' }, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const created = async (body: CreateBody = echo(), by = client): Promise<string> => {
    const answer = await by.create(body);
    expect(answer.status).toBe(201);
    return answer.body.taskId;
  };

  const ended = (taskId: string, by = client): Promise<Snapshot> =>
    eventually(`task ${taskId} ends`, async () => {
      const { body } = await by.snapshot(taskId);
      return ['COMPLETED', 'FAILED', 'CANCELLED'].includes(body.status) && body;
    });

  const running = (taskId: string, by = client): Promise<Snapshot> =>
    eventually(`task ${taskId} runs`, async () => {
      const { body } = await by.snapshot(taskId);
      return body.status === 'RUNNING' && body;
    });

  const allEvents = async (taskId: string, by = client) => {
    await ended(taskId, by);
    return (await by.events(taskId, { maxEvents: '500' })).body.events;
  };

  /** A task that nobody may claim before tomorrow. */
  const waiting = async (by = client): Promise<string> => {
    const taskId = randomUUID();
    await connected(database.superuserUrl, (db) =>
      db.query(
        `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, claimable_at,
           correlation_id) VALUES ($1, '', $2, $3, repeat('0', 64), 'demo.echo', now() + interval '1 day', gen_random_uuid())`,
        [taskId, by.principal, uniqueId('request')],
      ),
    );
    return taskId;
  };

  describe('POST /tasks', () => {
    it('accepts a task with 201, its address, and a UUIDv7', async () => {
      const body = echo();
      const answer = await client.create(body);
      expect(answer.status).toBe(201);
      expect(answer.body).toEqual({
        taskId: expect.stringMatching(UUID_V7),
        status: 'ACCEPTED',
        clientRequestId: body.clientRequestId,
        deduplicated: false,
      });
      expect(answer.headers.get('location')).toBe(`tasks/${answer.body.taskId}`);
      expect(answer.headers.get('idempotent-replayed')).toBeNull();
    });

    it.each(['', '/bridge', '/a/b'])(
      'gives an address that is right below the prefix "%s" of a proxy',
      async (prefix) => {
        for (const path of ['/api/v1/tasks', '/api/v1/tasks/', '/API/v1/Tasks']) {
          const answer = await client.request<Created>('POST', path, {
            body: JSON.stringify(echo()),
            headers: { 'Content-Type': 'application/json' },
          });
          const location = answer.headers.get('location') ?? '';
          const { pathname } = new URL(location, `https://app.example${prefix}${path}`);
          expect(pathname.toLowerCase()).toBe(`${prefix}/api/v1/tasks/${answer.body.taskId}`);
        }
      },
    );

    it('answers a repeat with 200, the same task and its current status', async () => {
      const body = echo();
      const taskId = await created(body);
      await ended(taskId);
      const repeat = await client.create(body);
      expect(repeat.status).toBe(200);
      expect(repeat.headers.get('idempotent-replayed')).toBe('true');
      expect(repeat.body).toEqual({
        taskId,
        status: 'COMPLETED',
        clientRequestId: body.clientRequestId,
        deduplicated: true,
      });
    });

    it('takes another order of members for the same request', async () => {
      const body = echo({ input: { a: 1, b: { c: [1, 2], d: null } }, metadata: { x: 'y', z: true } });
      const taskId = await created(body);
      const reordered = echo({
        ...(body.clientRequestId !== undefined && { clientRequestId: body.clientRequestId }),
        metadata: { z: true, x: 'y' },
        input: { b: { d: null, c: [1, 2] }, a: 1 },
      });
      const repeat = await client.create(reordered);
      expect([repeat.status, repeat.body.taskId]).toEqual([200, taskId]);
    });

    it.each([
      ['taskType', { taskType: 'demo.greet' }],
      ['input', { input: { text: 'other' } }],
      ['the order of an array in the input', { input: { list: [2, 1] } }],
    ])('refuses the same clientRequestId with another %s', async (_what, change) => {
      const body = echo({ input: { list: [1, 2] } });
      await created(body);
      expectError(await client.create({ ...body, ...change }), 409, 'IDEMPOTENCY_CONFLICT');
    });

    it('keeps equal clientRequestIds of two principals apart', async () => {
      const body = echo();
      const [mine, theirs] = [await created(body), await created(body, newPrincipal(service.url))];
      expect(mine).not.toBe(theirs);
    });

    it('lets an Idempotency-Key header stand in for clientRequestId', async () => {
      const { taskType, input } = echo() as Required<CreateBody>;
      const key = uniqueId('key');
      const first = await client.create({ taskType, input }, { 'Idempotency-Key': key });
      const repeat = await client.create({ taskType, input, clientRequestId: key });
      expect([first.status, first.body.clientRequestId]).toEqual([201, key]);
      expect([repeat.status, repeat.body.taskId]).toEqual([200, first.body.taskId]);
    });

    it('accepts an Idempotency-Key that equals clientRequestId', async () => {
      const body = echo({ clientRequestId: uniqueId() });
      expect((await client.create(body, { 'Idempotency-Key': body.clientRequestId ?? '' })).status).toBe(201);
    });

    it('refuses an Idempotency-Key that differs from clientRequestId', async () => {
      expectError(await client.create(echo(), { 'Idempotency-Key': uniqueId() }), 400, 'INVALID_REQUEST');
    });

    it('refuses a task type that nobody executes and names those that somebody does', async () => {
      const [error] = expectFieldErrors(await client.create(echo({ taskType: 'demo.nonsense' })));
      expect(error?.path).toBe('taskType');
      for (const known of ['demo.greet', 'demo.echo', 'demo.fail', 'demo.sleep', 'demo.stream', 'demo.burst']) {
        expect(error?.message).toContain(known);
      }
    });

    it.each<[string, Record<string, unknown>, string]>([
      ['an unknown member', { unknown: 1 }, 'unknown'],
      ['no taskType', { taskType: undefined }, 'taskType'],
      ['a taskType that is no string', { taskType: 7 }, 'taskType'],
      ['an empty taskType', { taskType: '' }, 'taskType'],
      ['a taskType with a space', { taskType: 'demo echo' }, 'taskType'],
      ['a taskType of 129 characters', { taskType: 'a'.repeat(129) }, 'taskType'],
      ['no clientRequestId', { clientRequestId: undefined }, 'clientRequestId'],
      ['an empty clientRequestId', { clientRequestId: '' }, 'clientRequestId'],
      ['a clientRequestId of null', { clientRequestId: null }, 'clientRequestId'],
      ['a taskType with a backslash', { taskType: 'demo\\echo' }, 'taskType'],
      ['a clientRequestId of 256 characters', { clientRequestId: 'a'.repeat(256) }, 'clientRequestId'],
      ['an input that is an array', { input: [1] }, 'input'],
      ['an input that is a string', { input: 'text' }, 'input'],
      ['a metadata that is a number', { metadata: 1 }, 'metadata'],
    ])('refuses %s with 422 and its path', async (_what, change, path) => {
      const errors = expectFieldErrors(await client.post('/api/v1/tasks', { ...echo(), ...change }));
      expect(errors.map((error) => error.path)).toContain(path);
    });

    it('accepts a clientRequestId of 255 visible characters', async () => {
      const clientRequestId = uniqueId().padEnd(255, '~!"#$%&\'()*+,/<=>?@[]^`{|}');
      expect((await client.create(echo({ clientRequestId }))).body.clientRequestId).toBe(clientRequestId);
    });

    it('says of a member that is missing that it is required, and nothing else', async () => {
      const errors = expectFieldErrors(await client.post(`/api/v1/tasks/${await created()}/actions`, {}));
      expect(errors).toEqual(
        ['clientActionId', 'suspendId', 'actionType'].map((path) => ({ path, message: 'is required' })),
      );
    });

    it('tells every violated field at once', async () => {
      const errors = expectFieldErrors(
        await client.post('/api/v1/tasks', { clientRequestId: '', taskType: '', more: 1 }),
      );
      expect(new Set(errors.map(({ path }) => path))).toEqual(new Set(['clientRequestId', 'taskType', 'more']));
    });

    it('works without input and metadata', async () => {
      const taskId = await created({ clientRequestId: uniqueId(), taskType: 'demo.echo' });
      expect((await ended(taskId)).status).toBe('COMPLETED');
    });
  });

  describe('A JSON body', () => {
    const send = (body: string | Uint8Array, headers: Record<string, string> = {}): Promise<Answer<unknown>> =>
      client.request('POST', '/api/v1/tasks', { body, headers: { 'Content-Type': 'application/json', ...headers } });
    const withInput = (json: string) => `{"clientRequestId":"${uniqueId()}","taskType":"demo.echo","input":${json}}`;
    const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;

    it.each([
      ['is cut short', '{"clientRequestId":'],
      ['is an array', '[]'],
      ['is a string', '"text"'],
      ['is null', 'null'],
      ['is followed by more', '{} {}'],
      ['is nested deeper than 32', withInput(nested(40))],
      ['is nested 3000 deep', withInput(nested(3000))],
      ['holds an escaped NUL', withInput(String.raw`{"a":"\u0000"}`)],
      ['holds an escaped NUL in a name', withInput(String.raw`{"\u0000":1}`)],
      ['holds a lone high surrogate', withInput(String.raw`{"a":"\ud800"}`)],
      ['holds a lone low surrogate', withInput(String.raw`{"a":"\udc00x"}`)],
      ['holds a member __proto__', withInput('{"__proto__":{"a":1}}')],
      ['holds a member constructor', withInput('{"constructor":{"a":1}}')],
      ['holds a number that is not finite', withInput('{"a":1e400}')],
    ])('that %s is refused with 400', async (_what, body) => {
      expectError(await send(body), 400, 'INVALID_REQUEST');
    });

    it.each([
      ['empty', { 'Content-Type': 'application/json' }],
      ['absent', {}],
    ])('that is %s is refused in the one shape', async (_what, headers: Record<string, string>) => {
      const answer = await client.request<ErrorBody>('POST', '/api/v1/tasks', { headers });
      expect([400, 415, 422]).toContain(answer.status);
      expectError(answer, answer.status, answer.body.code);
    });

    it('that is no UTF-8 is refused with 400', async () => {
      const [before, after] = withInput('{"a":"?"}').split('?');
      const bytes = Buffer.concat([Buffer.from(before ?? ''), Buffer.from([0xff]), Buffer.from(after ?? '')]);
      expectError(await send(bytes), 400, 'INVALID_REQUEST');
    });

    it('that holds a pair of surrogates arrives as it was sent', async () => {
      const taskId = ((await send(withInput(String.raw`{"a":"\ud83d\ude00"}`))) as Answer<Created>).body.taskId;
      expect((await ended(taskId)).input).toEqual({ a: '😀' });
    });

    it('of more than 1 MiB is refused with 413', async () => {
      expectError(await send(withInput(`{"a":"${'x'.repeat(1_100_000)}"}`)), 413, 'PAYLOAD_TOO_LARGE');
    });

    it('of more than 1 MiB in chunks without a length is refused with 413', async () => {
      const piece = 'x'.repeat(60_000);
      const chunk = `${piece.length.toString(16)}\r\n${piece}\r\n`;
      const answer = await rawRequest(
        service.url,
        ['POST /api/v1/tasks HTTP/1.1', 'Content-Type: application/json', 'Transfer-Encoding: chunked'],
        `${chunk.repeat(20)}0\r\n\r\n`,
      );
      expectError(answer, 413, 'PAYLOAD_TOO_LARGE');
    });

    it.each([
      ['another charset', { 'Content-Type': 'application/json; charset=utf-16' }],
      ['a content encoding', { 'Content-Encoding': 'gzip' }],
      ['text/plain', { 'Content-Type': 'text/plain' }],
      ['a form', { 'Content-Type': 'application/x-www-form-urlencoded' }],
    ])('in %s is refused with 415', async (_what, headers: Record<string, string>) => {
      expectError(await send(JSON.stringify(echo()), headers), 415, 'UNSUPPORTED_MEDIA_TYPE');
    });

    it('declared as UTF-8 is accepted', async () => {
      const answer = await send(JSON.stringify(echo()), { 'Content-Type': 'application/json; charset=UTF-8' });
      expect(answer.status).toBe(201);
    });
  });

  describe('GET /tasks/{taskId}', () => {
    it('shows the whole task', async () => {
      const body = echo({ metadata: { source: 'test' } });
      const taskId = await created(body);
      expect(await ended(taskId)).toMatchObject({
        taskId,
        clientRequestId: body.clientRequestId,
        taskType: 'demo.echo',
        status: 'COMPLETED',
        input: body.input,
        metadata: { source: 'test' },
        attachments: [],
        attempt: 1,
        cancellationRequested: false,
        result: body.input,
        headEventId: '2',
        createdAt: expect.stringMatching(/Z$/),
        updatedAt: expect.stringMatching(/Z$/),
        startedAt: expect.stringMatching(/Z$/),
        finishedAt: expect.stringMatching(/Z$/),
      });
    });

    it('has no member that is null, and none of the end before the end', async () => {
      const taskId = await waiting();
      const { body } = await client.snapshot(taskId);
      for (const absent of ['progress', 'openSuspension', 'result', 'failure', 'startedAt', 'finishedAt']) {
        expect(body).not.toHaveProperty(absent);
      }
    });

    it('shows the progress of a running task', async () => {
      const taskId = await created(greet({ steps: 1_000, stepMs: 50 }));
      const progress = await eventually('some progress', async () => (await client.snapshot(taskId)).body.progress);
      await client.cancel(taskId);
      expect(progress).toBeGreaterThan(0);
      expect(progress).toBeLessThan(100);
    });

    it('answers 304 without a body to the ETag it gave', async () => {
      const taskId = await created();
      await ended(taskId);
      const etag = (await client.snapshot(taskId)).headers.get('etag') ?? '';
      const repeat = await rawRequest(service.url, [
        `GET /api/v1/tasks/${taskId} HTTP/1.1`,
        `X-Principal-Id: ${client.principal}`,
        `If-None-Match: ${etag}`,
      ]);
      expect(etag).toMatch(/^(W\/)?"[^"]+"$/);
      expect([repeat.status, repeat.text, repeat.headers.get('etag')]).toEqual([304, '', etag]);
    });

    // fetch() adds `Cache-Control: no-cache` on its own to a request that carries If-None-Match.
    it('answers 304 to a client that asks by fetch', async () => {
      const taskId = await created();
      await ended(taskId);
      const etag = (await client.snapshot(taskId)).headers.get('etag') ?? '';
      const repeat = await client.snapshot(taskId, { 'If-None-Match': etag });
      expect([repeat.status, repeat.text]).toEqual([304, '']);
    });

    it('changes the ETag when the task changes', async () => {
      const taskId = await created(sleep());
      await running(taskId);
      const etag = (await client.snapshot(taskId)).headers.get('etag') ?? '';
      await client.cancel(taskId);
      await ended(taskId);
      const changed = await client.snapshot(taskId, { 'If-None-Match': etag });
      expect([changed.status, changed.body.status]).toEqual([200, 'CANCELLED']);
    });
  });

  describe('GET /tasks', () => {
    it('lists the own tasks, newest first, without input', async () => {
      const own = newPrincipal(service.url);
      const ids = [await created(echo(), own), await created(echo(), own), await created(echo(), own)];
      await created(echo(), newPrincipal(service.url));
      const { body } = await own.list();
      expect(body.items.map(({ taskId }) => taskId)).toEqual(ids.reverse());
      expect(body.nextCursor).toBeNull();
      for (const item of body.items) expect(item).not.toHaveProperty('input');
    });

    it('pages by cursor, each task once, also while new ones arrive', async () => {
      const own = newPrincipal(service.url);
      const ids: string[] = [];
      for (let n = 0; n < 7; n++) ids.unshift(await created(echo(), own));
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const page = await own.list({ limit: '3', ...(cursor !== null && { cursor }) });
        seen.push(...page.body.items.map(({ taskId }) => taskId));
        cursor = page.body.nextCursor;
        await created(echo(), own);
      } while (cursor !== null);
      expect(seen).toEqual(ids);
    });

    it('gives no cursor when the last page is exactly full', async () => {
      const own = newPrincipal(service.url);
      await created(echo(), own);
      await created(echo(), own);
      const { body } = await own.list({ limit: '2' });
      expect([body.items.length, body.nextCursor]).toEqual([2, null]);
    });

    it('filters by status, task type, suspension and time of creation', async () => {
      const own = newPrincipal(service.url);
      const done = await created(echo(), own);
      await ended(done, own);
      const open = await created(sleep(), own);
      const { createdAt } = (await own.snapshot(open)).body;
      const found = async (query: Record<string, string>) =>
        (await own.list(query)).body.items.map(({ taskId }) => taskId);
      expect(await found({ status: 'COMPLETED' })).toEqual([done]);
      expect(await found({ taskType: 'demo.sleep' })).toEqual([open]);
      expect(await found({ status: 'COMPLETED', taskType: 'demo.sleep' })).toEqual([]);
      expect(await found({ suspended: 'true' })).toEqual([]);
      expect(await found({ suspended: 'false' })).toEqual([open, done]);
      expect(await found({ createdAfter: '2100-01-01T00:00:00Z' })).toEqual([]);
      expect(await found({ createdBefore: '2020-01-01T00:00:00Z' })).toEqual([]);
      expect(await found({ createdBefore: createdAt })).toContain(done);
      await own.cancel(open);
    });

    it.each([
      'unknown=1',
      'limit=1&limit=2',
      'limit=0',
      'limit=101',
      'limit=many',
      'limit=1.5',
      'limit=',
      'status=DONE',
      'suspended=maybe',
      'createdAfter=yesterday',
      'createdAfter=2026-02-30T00:00:00Z',
      'createdBefore=2026-01-01T24:00:00Z',
      'createdBefore=2026-01-01',
      'cursor=nonsense',
      'cursor=',
    ])('refuses ?%s with 400', async (query) => {
      const answer = await client.request('GET', `/api/v1/tasks?${query}`);
      expectError(answer, 400, query.startsWith('cursor') ? 'INVALID_CURSOR' : 'INVALID_REQUEST');
    });

    it('refuses a cursor that was altered', async () => {
      const own = newPrincipal(service.url);
      await created(echo(), own);
      await created(echo(), own);
      const { nextCursor } = (await own.list({ limit: '1' })).body;
      expectError(await own.list({ cursor: `${nextCursor}x!` }), 400, 'INVALID_CURSOR');
    });
  });

  describe('GET /tasks/{taskId}/events', () => {
    it('gives what is there after the cursor, with exact hasMore', async () => {
      const taskId = await created(greet());
      await ended(taskId);
      const page = await client.events(taskId, { afterEventId: '1', maxEvents: '2' });
      expect(page.body).toEqual({
        taskId,
        events: [expect.objectContaining({ eventId: '2' }), expect.objectContaining({ eventId: '3' })],
        nextAfterEventId: '3',
        hasMore: true,
        headEventId: '5',
        terminal: false,
      });
    });

    it('waits no longer than asked on a task without news', async () => {
      const taskId = await waiting();
      const { body } = await client.events(taskId, { waitTimeoutMs: '50' });
      expect(body).toEqual({ taskId, events: [], hasMore: false, headEventId: '0', terminal: false });
    });

    it('answers the given cursor when nothing came', async () => {
      const taskId = await created(sleep());
      await running(taskId);
      const { body } = await client.events(taskId, { afterEventId: '1', waitTimeoutMs: '0' });
      expect(body).toEqual({
        taskId,
        events: [],
        nextAfterEventId: '1',
        hasMore: false,
        headEventId: '1',
        terminal: false,
      });
      await client.cancel(taskId);
    });

    it('answers as soon as an event arrives', async () => {
      const taskId = await created(sleep());
      await running(taskId);
      const page = client.events(taskId, { afterEventId: '1', waitTimeoutMs: '60000' });
      await client.cancel(taskId);
      expect((await page).body).toMatchObject({ events: [{ eventId: '2', type: 'TASK_CANCELLED' }], terminal: true });
    });

    it.each([
      'unknown=1',
      'afterEventId=1&afterEventId=2',
      'waitTimeoutMs=60001',
      'waitTimeoutMs=-1',
      'waitTimeoutMs=soon',
      'maxEvents=0',
      'maxEvents=501',
      'maxEvents=1e2',
    ])('refuses ?%s with 400', async (query) => {
      const taskId = await created();
      expectError(await client.request('GET', `/api/v1/tasks/${taskId}/events?${query}`), 400, 'INVALID_REQUEST');
    });

    it('refuses unknown and repeated parameters of the stream with 400', async () => {
      const taskId = await created();
      for (const query of ['unknown=1', 'lastEventId=0&lastEventId=0']) {
        expectError(
          await client.request('GET', `/api/v1/tasks/${taskId}/events/stream?${query}`),
          400,
          'INVALID_REQUEST',
        );
      }
    });
  });

  describe('POST /tasks/{taskId}/cancel', () => {
    it('ends a running task with the default reason', async () => {
      const taskId = await created(sleep());
      await running(taskId);
      const answer = await client.cancel(taskId);
      expect([answer.status, answer.body]).toEqual([202, { taskId, status: 'CANCELLATION_REQUESTED' }]);
      const last = (await allEvents(taskId)).at(-1);
      expect([last?.type, last?.payload]).toEqual(['TASK_CANCELLED', { reason: 'cancelled_by_user' }]);
      expect(await ended(taskId)).toMatchObject({ status: 'CANCELLED', cancellationRequested: true });
    });

    it('stores the given reason', async () => {
      const taskId = await created(sleep());
      await running(taskId);
      await client.cancel(taskId, { reason: 'changed my mind' });
      expect((await allEvents(taskId)).at(-1)?.payload).toEqual({ reason: 'changed my mind' });
    });

    it('accepts an empty object', async () => {
      const taskId = await created(sleep());
      expect((await client.cancel(taskId, {})).status).toBe(202);
      await ended(taskId);
    });

    it('ends a waiting task at once, with the terminal event as its only one', async () => {
      const taskId = await waiting();
      const answer = await client.cancel(taskId);
      const events = (await client.events(taskId)).body;
      expect([answer.status, answer.body.status]).toEqual([202, 'CANCELLATION_REQUESTED']);
      expect(events).toMatchObject({ events: [{ eventId: '1', type: 'TASK_CANCELLED' }], terminal: true });
    });

    it('says that a task is over and changes nothing', async () => {
      const taskId = await created();
      const before = await ended(taskId);
      const answer = await client.cancel(taskId);
      expect([answer.status, answer.body]).toEqual([202, { taskId, status: 'ALREADY_TERMINAL' }]);
      expect((await client.snapshot(taskId)).body).toEqual(before);
    });

    it.each<[string, unknown]>([
      ['an unknown member', { why: 'x' }],
      ['a reason that is no string', { reason: 1 }],
    ])('refuses %s with 422', async (_what, body) => {
      expectFieldErrors(await client.cancel(await created(), body));
    });

    it('refuses a body that is no JSON', async () => {
      const init = { body: '{', headers: { 'Content-Type': 'application/json' } };
      expectError(
        await client.request('POST', `/api/v1/tasks/${await created()}/cancel`, init),
        400,
        'INVALID_REQUEST',
      );
    });
  });

  describe('The demo task', () => {
    it('demo.greet starts, progresses by steps, and greets', async () => {
      const events = await allEvents(await created(greet()));
      expect(events.map(({ type }) => type)).toEqual([
        'TASK_STARTED',
        'TASK_PROGRESS',
        'TASK_PROGRESS',
        'TASK_PROGRESS',
        'TASK_COMPLETED',
      ]);
      expect(events.at(-1)?.payload['result']).toMatchObject({ greeting: expect.stringContaining('Ada') });
      for (const { type, payload } of events) {
        if (type === 'TASK_PROGRESS') expect(payload['progress']).toBeGreaterThanOrEqual(0);
      }
    });

    it('demo.echo completes with its input', async () => {
      const input = { deep: { list: [1, null, 'x'] } };
      expect((await ended(await created(echo({ input })))).result).toEqual(input);
    });

    it('demo.fail fails at once with its message', async () => {
      const body = { clientRequestId: uniqueId(), taskType: 'demo.fail', input: { message: 'as wanted' } };
      const events = await allEvents(await created(body));
      expect(events.map(({ type }) => type)).toEqual(['TASK_STARTED', 'TASK_FAILED']);
      expect(events.at(-1)?.payload).toEqual({ code: expect.any(String), message: 'as wanted', retryable: false });
    });

    it('demo.fail that is retryable is tried again until the attempts are spent', async () => {
      const body = { clientRequestId: uniqueId(), taskType: 'demo.fail', input: { message: 'again', retryable: true } };
      const events = await allEvents(await created(body));
      expect(events.map(({ type }) => type)).toEqual(['TASK_STARTED', 'TASK_RETRYING', 'TASK_FAILED']);
      expect(events[1]?.payload).toEqual({
        attempt: 2,
        reason: expect.any(String),
        supersedesAfterEventId: '1',
        notBefore: expect.any(String),
      });
      expect(events[2]?.payload).toMatchObject({ message: 'again', retryable: true });
    });

    it('demo.sleep completes after its time', async () => {
      expect((await ended(await created(sleep(1)))).status).toBe('COMPLETED');
    });

    it('demo.sleep ends soon after a cancellation', async () => {
      const taskId = await created(sleep());
      await running(taskId);
      const reader = followWebSocket(service.url, taskId, '1', client.headers);
      await reader.waitFor(({ frames }) => frames.length > 0);
      await client.cancel(taskId);
      // 200 ms is promised; the rest is for a busy machine.
      await reader.waitFor(({ events }) => events.length > 0, 1_000);
      expect((await reader.end()).code).toBe(1000);
    });

    it('demo.stream completes with the text it streamed', async () => {
      const body = { clientRequestId: uniqueId(), taskType: 'demo.stream', input: { chunks: 5, intervalMs: 1 } };
      const events = await allEvents(await created(body));
      const outputs = events.filter(({ type }) => type === 'TASK_OUTPUT').map(({ payload }) => payload);
      for (const output of outputs) {
        expect(output).toEqual({ channel: 'text', op: 'append', data: expect.any(String), attempt: 1 });
      }
      expect(outputs.length).toBeGreaterThan(0);
      expect(events.at(-1)?.payload['result']).toMatchObject({ text: outputs.map(({ data }) => data).join('') });
    });

    it('demo.burst writes as many progress events as asked', async () => {
      const body = { clientRequestId: uniqueId(), taskType: 'demo.burst', input: { events: 50 } };
      const types = (await allEvents(await created(body))).map(({ type }) => type);
      expect(types).toEqual(['TASK_STARTED', ...Array(50).fill('TASK_PROGRESS'), 'TASK_COMPLETED']);
    });
  });

  describe('The principal header', () => {
    const withPrincipal = (value: string) =>
      client.request('GET', '/api/v1/tasks', { headers: { 'X-Principal-Id': value } });

    it.each(['a', 'alice@example.com', 'tenant:7|user_1', 'A.b-c', randomUUID(), 'x'.repeat(128)])(
      'may be %s',
      async (value) => {
        expect((await withPrincipal(value)).status).toBe(200);
      },
    );

    it.each([
      ['begins with a dot', '.alice'],
      ['has a space', 'alice bob'],
      ['has a comma', 'alice,bob'],
      ['has a slash', 'alice/bob'],
      ['has 129 characters', 'x'.repeat(129)],
      ['is outside ASCII', 'alicé'],
      ['is the reserved system principal', '00000000-0000-0000-0000-000000000000'],
      ['is the reserved word system', 'system'],
      ['claims to be a worker', 'worker:x'],
    ])('that %s is refused with 401', async (_what, value) => {
      expectError(await withPrincipal(value), 401, 'AUTHENTICATION_ERROR');
    });

    it('that is doubled is refused with 401, even with equal values', async () => {
      const answer = await rawRequest(service.url, [
        'GET /api/v1/tasks HTTP/1.1',
        'X-Principal-Id: a',
        'X-Principal-Id: a',
      ]);
      expectError(answer, 401, 'AUTHENTICATION_ERROR');
    });

    it('that is absent means the system principal, whose tasks nobody else sees', async () => {
      const nobody = new Client(service.url);
      const taskId = await created(echo(), nobody);
      expect((await nobody.snapshot(taskId)).status).toBe(200);
      expectError(await client.snapshot(taskId), 404, 'TASK_NOT_FOUND');
    });
  });

  describe('A foreign task', () => {
    const bare = (answer: Answer<unknown>) => {
      const { timestamp: _timestamp, correlationId: _correlationId, ...body } = answer.body as Record<string, unknown>;
      const headers = [...answer.headers].filter(([name]) => !['date', 'x-correlation-id', 'etag'].includes(name));
      return { status: answer.status, body, headers, length: answer.text.length };
    };

    it.each([
      ['its snapshot', 'GET', ''],
      ['its events', 'GET', '/events'],
      ['its events with a cursor ahead', 'GET', '/events?afterEventId=999'],
      ['its stream', 'GET', '/events/stream'],
      ['its cancellation', 'POST', '/cancel'],
    ])('looks like an absent one when asked for %s', async (_what, method, suffix) => {
      const foreign = await created(echo(), newPrincipal(service.url));
      const absent = (await created()).replace(/.{12}$/, 'ffffffffffff');
      const [one, other] = await Promise.all(
        [foreign, absent].map((taskId) => client.request(method, `/api/v1/tasks/${taskId}${suffix}`)),
      );
      expectError(one as Answer<unknown>, 404, 'TASK_NOT_FOUND');
      expect(bare(one as Answer<unknown>)).toEqual(bare(other as Answer<unknown>));
    });

    it('is not cancelled by the attempt', async () => {
      const owner = newPrincipal(service.url);
      const taskId = await created(sleep(), owner);
      await running(taskId, owner);
      await client.cancel(taskId);
      expect((await owner.snapshot(taskId)).body).toMatchObject({ status: 'RUNNING', cancellationRequested: false });
      await owner.cancel(taskId);
    });

    it('does not appear in the list', async () => {
      await created(echo(), newPrincipal(service.url));
      expect((await newPrincipal(service.url).list()).body.items).toEqual([]);
    });
  });

  describe('Every answer', () => {
    it.each([
      ['GET', '/health', 200],
      ['GET', '/ready', 200],
      ['GET', '/openapi.json', 200],
      ['GET', '/api/v1/tasks', 200],
      ['GET', '/nowhere', 404],
      ['GET', '/api/v1/tasks/nobody-knows-it', 404],
      ['PUT', '/api/v1/tasks', 405],
    ])('to %s %s carries an X-Correlation-Id', async (method, path, status) => {
      const answer = await client.request(method, path);
      expect(answer.status).toBe(status);
      expect(answer.headers.get('x-correlation-id')).toMatch(UUID);
    });

    it('has its own X-Correlation-Id', async () => {
      const [one, other] = [await client.list(), await client.list()];
      expect(one.headers.get('x-correlation-id')).not.toBe(other.headers.get('x-correlation-id'));
    });

    it('hides what serves it', async () => {
      const answer = await client.list();
      expect([answer.headers.get('x-powered-by'), answer.headers.get('server')]).toEqual([null, null]);
    });

    it.each([
      ['an unknown path', 'GET', '/api/v1/nothing', 404, 'NOT_FOUND'],
      ['a path with a broken escape', 'GET', '/api/v1/tasks/%zz', 400, 'INVALID_REQUEST'],
      ['an id that is no UUID', 'GET', '/api/v1/tasks/not-a-uuid', 404, 'TASK_NOT_FOUND'],
      ['a method that the path does not know', 'DELETE', '/api/v1/tasks', 405, 'METHOD_NOT_ALLOWED'],
      ['a method that a task does not know', 'PUT', `/api/v1/tasks/${randomUUID()}`, 405, 'METHOD_NOT_ALLOWED'],
    ])('to %s is an error of the one shape', async (_what, method, path, status, code) => {
      expectError(await client.request(method, path), status, code);
    });

    it('names the allowed methods with a 405', async () => {
      const allow = (await client.request('DELETE', '/api/v1/tasks')).headers.get('allow') ?? '';
      expect(allow.split(/,\s*/)).toEqual(expect.arrayContaining(['GET', 'POST']));
    });

    it('that can only be JSON refuses another Accept with 406', async () => {
      const init = { headers: { Accept: 'text/html' } };
      expectError(await client.request('GET', '/api/v1/tasks', init), 406, 'NOT_ACCEPTABLE');
    });

    it('that can only be an event stream refuses another Accept with 406', async () => {
      const path = `/api/v1/tasks/${await created()}/events/stream`;
      const init = { headers: { Accept: 'application/json' } };
      expectError(await client.request('GET', path, init), 406, 'NOT_ACCEPTABLE');
    });
  });

  describe('Health', () => {
    it('is ok as long as the process serves', async () => {
      const answer = await new Client(service.url).request('GET', '/health');
      expect([answer.status, answer.body]).toEqual([200, { status: 'ok' }]);
    });

    it('is ready with PostgreSQL and the executor behind it', async () => {
      const answer = await new Client(service.url).request('GET', '/ready');
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({
        status: 'ready',
        details: { postgres: { status: 'ready' }, executor: { status: 'ready' } },
      });
    });
  });
});
