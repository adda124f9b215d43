import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  Client,
  type Created,
  type Answer,
  expectError,
  expectFieldErrors,
  newPrincipal,
  rawBytes,
  uniqueId,
} from '../support/client.js';
import { followSse, followWebSocket } from '../support/follow.js';
import { connected } from '../support/fold.js';
import { Metrics } from '../support/metrics.js';
import { MultiplexClient } from '../support/multiplex-client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

// What a client of protocol 1.0 does that others do not, on two replicas. The table is in PROTOCOL.md.

/** No answer that waits for something takes as long as this on a busy machine. */
const AT_ONCE_MS = 5_000;

describe('For a client of the ancestor', () => {
  let database: TestDatabase;
  let services: readonly Service[];
  let client: Client;
  /** The same principal on the other replica. */
  let beside: Client;
  let worker: WorkerClient;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl, ...WITH_WORKERS };
    services = await Promise.all([startService(env, { lifetime: 'file' }), startService(env, { lifetime: 'file' })]);
    client = newPrincipal(services[0]?.url ?? '');
    beside = new Client(services[1]?.url ?? '', client.principal);
    worker = new WorkerClient(client.url);
  });

  afterAll(async () => {
    await Promise.all(services.map((service) => service.stop()));
    await database.drop();
  });

  const over = async (): Promise<string> => {
    const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType: 'demo.echo' })).body;
    await eventually('the task is over', async () => (await client.snapshot(taskId)).body.status === 'COMPLETED');
    return taskId;
  };

  const timed = async <T>(asked: () => Promise<T>): Promise<readonly [T, number]> => {
    const begun = performance.now();
    return [await asked(), performance.now() - begun];
  };

  describe('a long-poll at the terminal event', () => {
    it('is held for its time on either replica, so that a client that ignores `terminal` does not ask without a pause', async () => {
      const taskId = await over();
      for (const by of [client, beside]) {
        const held = await timed(() => by.events(taskId, { afterEventId: '2', waitTimeoutMs: '1200' }));
        expect(held[0].body).toEqual({
          taskId,
          events: [],
          nextAfterEventId: '2',
          hasMore: false,
          headEventId: '2',
          terminal: true,
        });
        expect(held[1]).toBeGreaterThan(1_150);
      }
    });

    it('is answered at once with waitTimeoutMs=0, and where events follow the cursor', async () => {
      const taskId = await over();
      const queries = [
        { afterEventId: '2', waitTimeoutMs: '0' },
        { afterEventId: '1', waitTimeoutMs: '60000' },
        { waitTimeoutMs: '60000' },
        { afterEventId: '1', maxEvents: '1' },
      ];
      for (const query of queries) {
        const [{ body }, tookMs] = await timed(() => client.events(taskId, query));
        expect(body.terminal).toBe(true);
        expect(tookMs).toBeLessThan(AT_ONCE_MS);
      }
    });

    it('takes no place of its principal’s streams, and is given up when its client leaves', async () => {
      const env = { DATABASE_URL: database.appUrl, STREAMS_PER_PRINCIPAL: '1' };
      const capped = await startService(env);
      const caller = new Client(capped.url, client.principal);
      const taskId = await over();
      const left = new AbortController();
      const path = `/api/v1/tasks/${taskId}/events?afterEventId=2&waitTimeoutMs=60000`;
      const poll = caller.request('GET', path, { signal: left.signal }).catch(() => 'left');
      const held = async () => (await Metrics.scrape(capped.url)).of('streams_active', { transport: 'long_poll' });
      await eventually('the poll is held', async () => (await held()) === 1);
      const { status } = await caller.request('HEAD', `/api/v1/tasks/${taskId}/events/stream`);
      expect(status).toBe(200);
      left.abort();
      expect(await poll).toBe('left');
      await eventually('it is given up', async () => (await held()) === 0);
      await capped.stop();
    });

    it('ends when the service drains, and when it is as old as a stream may get', async () => {
      const env = { DATABASE_URL: database.appUrl, DRAIN_DELAY_SECONDS: '0' };
      const [draining, aging] = await Promise.all([
        startService(env),
        startService({ ...env, STREAM_MAX_SECONDS: '1' }),
      ]);
      const taskId = await over();
      const poll = ({ url }: Service) =>
        timed(() => new Client(url, client.principal).events(taskId, { afterEventId: '2', waitTimeoutMs: '60000' }));
      const [old, tookMs] = await poll(aging);
      expect(old.body).toMatchObject({ events: [], terminal: true });
      expect(tookMs).toBeLessThan(1_000 + AT_ONCE_MS);
      const held = poll(draining);
      await eventually('the poll is held', async () =>
        /streams_active\{[^}]*long_poll[^}]*\} 1/.test(await (await fetch(`${draining.url}/metrics`)).text()),
      );
      const [, [drained]] = await Promise.all([draining.stop(), held]);
      expect(drained.body).toMatchObject({ events: [], terminal: true });
      await aging.stop();
    });
  });

  describe('a clientRequestId', () => {
    const body = { taskType: 'demo.echo' };
    /** The header's bytes: `fetch` sends each character as one byte. */
    const utf8 = (text: string) => Buffer.from(text).toString('latin1');
    const byKey = (key: string, by = client) => by.create(body, { 'Idempotency-Key': key });
    const expectRepeat = (again: Answer<Created>, first: Answer<Created>, id: string) =>
      expect([again.status, again.body.taskId, again.body.clientRequestId]).toEqual([200, first.body.taskId, id]);

    it.each([
      ['Latin letters with marks', 'Größe ½ ñ'],
      ['another script', '訂單 四七一一'],
      ['right-to-left text with a joiner', 'می‌خواهم'],
      ['emoji that are joined', '👩‍💻 👨‍👩‍👧'],
      ['spaces of several widths', 'a b\u00a0c\u3000d'],
      ['punctuation', '"\'\\/?#%&<>{}|^`~'],
    ])('may have %s, as a member, a header and a field of a form', async (_what, text) => {
      const id = `${uniqueId()} ${text}`;
      const first = await client.create({ ...body, clientRequestId: id });
      expect([first.status, first.body.clientRequestId]).toEqual([201, id]);
      expectRepeat(await byKey(utf8(id), beside), first, id);
      const form = new FormData();
      form.set('clientRequestId', id);
      form.set('taskType', body.taskType);
      expectRepeat(await beside.request('POST', '/api/v1/tasks', { body: form }), first, id);
      expect((await client.snapshot(first.body.taskId)).body.clientRequestId).toBe(id);
    });

    it('is one id in every normal form, and is stored as NFC', async () => {
      const id = `é ${uniqueId()} Å`;
      const [composed, decomposed] = [id.normalize('NFC'), id.normalize('NFD')];
      expect(composed).not.toBe(decomposed);
      const first = await client.create({ ...body, clientRequestId: decomposed });
      expect([first.status, first.body.clientRequestId]).toEqual([201, composed]);
      expectRepeat(await beside.create({ ...body, clientRequestId: composed }), first, composed);
      expectRepeat(await byKey(utf8(decomposed)), first, composed);
      const both = await client.create({ ...body, clientRequestId: composed }, { 'Idempotency-Key': utf8(decomposed) });
      expectRepeat(both, first, composed);
      const { rows } = await connected(database.superuserUrl, (db) =>
        db.query('SELECT client_request_id AS id FROM taskbridge.proj_tasks WHERE task_id = $1', [first.body.taskId]),
      );
      expect(rows).toEqual([{ id: composed }]);
    });

    it('has 255 characters at most, counted in the normal form', async () => {
      const unique = uniqueId();
      const emoji = unique + '😀'.repeat(255 - unique.length);
      const marked = unique + 'e\u0301'.repeat(255 - unique.length);
      for (const id of [emoji, marked]) {
        const { status, body: made } = await client.create({ ...body, clientRequestId: id });
        expect([status, made.clientRequestId]).toEqual([201, id.normalize('NFC')]);
      }
      for (const id of [
        `${emoji}😀`,
        `${marked}é`,
        'a'.repeat(256),
        'e\u0301'.repeat(2_000),
        'a\u0315\u0300'.repeat(100_000),
      ]) {
        const [error] = expectFieldErrors(await client.create({ ...body, clientRequestId: id }));
        expect(error?.path).toBe('clientRequestId');
      }
    });

    it.each([
      ['nothing', ''],
      ['a tab', 'a\tb'],
      ['a line break', 'a\nb'],
      ['a control character of ISO 8859-1', 'a\u0085b'],
      ['DEL', 'a\u007f'],
      ['a zero-width space', 'a\u200bb'],
      ['a byte order mark', '\ufeffa'],
      ['a soft hyphen', 'a\u00adb'],
      ['a mark that turns the direction of text', 'a\u202eb'],
      ['a line separator', 'a\u2028b'],
      ['a paragraph separator', 'a\u2029b'],
      ['a character of private use', '\ue000'],
      ['an unassigned code point', '\u0378'],
      ['a noncharacter', '\uffff'],
    ])('with %s is refused, in every place', async (_what, id) => {
      const [error] = expectFieldErrors(await client.create({ ...body, clientRequestId: id }));
      expect(error).toEqual({ path: 'clientRequestId', message: 'must be 1 to 255 printable Unicode characters' });
      const form = new FormData();
      form.set('clientRequestId', id);
      form.set('taskType', body.taskType);
      const { status } = await client.request('POST', '/api/v1/tasks', { body: form });
      expect(status).toBe(422);
      // These cannot be in a header at all.
      if (!/[\t\n\u007f]/.test(id) && id !== '') expectError(await byKey(utf8(id)), 400, 'INVALID_REQUEST');
    });

    it('of a clientActionId stays visible ASCII', async () => {
      const action = { clientActionId: 'é', suspendId: '1', actionType: 'a' };
      const [error] = expectFieldErrors(await client.act(await over(), action));
      expect(error).toEqual({ path: 'clientActionId', message: 'must be 1 to 255 visible ASCII characters' });
    });

    describe('in an Idempotency-Key', () => {
      it('is the text within the quotes', async () => {
        const id = uniqueId();
        const first = await byKey(`"${id}"`);
        expect([first.status, first.body.clientRequestId]).toEqual([201, id]);
        expectRepeat(await byKey(`"${id}"`, beside), first, id);
        expectRepeat(await byKey(id, beside), first, id);
        expectRepeat(
          await client.create({ ...body, clientRequestId: id }, { 'Idempotency-Key': `"${id}"` }),
          first,
          id,
        );
      });

      it('has its quotes and backslashes escaped within the quotes', async () => {
        const id = `${uniqueId()} "a" \\`;
        const first = await byKey(`"${id.replace(/["\\]/g, '\\$&')}"`);
        expect([first.status, first.body.clientRequestId]).toEqual([201, id]);
        expectRepeat(await client.create({ ...body, clientRequestId: id }), first, id);
      });

      it.each(['"%', '%"', '"%"x', '"a"%"', '"\\%"'])(
        'is the whole text where it is not quoted as a whole: %s',
        async (form) => {
          const key = form.replace('%', uniqueId());
          const first = await byKey(key);
          expect([first.status, first.body.clientRequestId]).toEqual([201, key]);
          expectRepeat(await client.create({ ...body, clientRequestId: key }), first, key);
        },
      );

      it('finds a task that was stored with the quotes, as release 0.1.0 stored it', async () => {
        const id = uniqueId();
        const quoted = `"${id}"`;
        const first = await client.create({ ...body, clientRequestId: quoted });
        expectRepeat(await byKey(quoted, beside), first, quoted);
        expectRepeat(
          await client.create({ ...body, clientRequestId: quoted }, { 'Idempotency-Key': quoted }),
          first,
          quoted,
        );
        expectError(
          await client.create({ taskType: 'demo.fail' }, { 'Idempotency-Key': quoted }),
          409,
          'IDEMPOTENCY_CONFLICT',
        );
        // Another client's key without quotes is another request, as it was before.
        expect((await byKey(id)).status).toBe(201);
      });

      it('is refused when it is empty, no UTF-8, given twice, or another one than the member', async () => {
        for (const key of ['""', '\xff', 'caf\xe9']) expectError(await byKey(key), 400, 'INVALID_REQUEST');
        const json = JSON.stringify(body);
        const head = [
          'POST /api/v1/tasks HTTP/1.1',
          'Host: localhost',
          'Connection: close',
          `X-Principal-Id: ${client.principal}`,
          'Content-Type: application/json',
          `Content-Length: ${json.length}`,
          'Idempotency-Key: a',
          'Idempotency-Key: a',
        ];
        expectError(await rawBytes(client.url, `${head.join('\r\n')}\r\n\r\n${json}`), 400, 'INVALID_REQUEST');
        const differs = { ...body, clientRequestId: uniqueId() };
        expectError(await client.create(differs, { 'Idempotency-Key': `"${uniqueId()}"` }), 400, 'INVALID_REQUEST');
      });
    });
  });

  describe('a task type with slashes', () => {
    it('is created, claimed, listed, counted and run to its end', async () => {
      const taskType = `team/${uniqueId()}/v1`;
      const created = await client.create({ clientRequestId: uniqueId(), taskType });
      expect(created.status).toBe(201);
      const lease = await worker.lease(taskType);
      expect([lease.taskId, lease.taskType]).toEqual([created.body.taskId, taskType]);
      const { body } = await beside.list({ taskType });
      expect(body.items.map((item) => [item.taskId, item.taskType])).toEqual([[created.body.taskId, taskType]]);
      expect((await worker.complete(lease)).status).toBe(200);
      expect((await beside.snapshot(created.body.taskId)).body).toMatchObject({ taskType, status: 'COMPLETED' });
      const waiting = await client.create({ clientRequestId: uniqueId(), taskType: '/' });
      expect(waiting.status).toBe(201);
      expect((await fetch(`${client.url}/metrics`)).status).toBe(200);
      await client.cancel(waiting.body.taskId);
    });

    it.each(['', 'with space', 'back\\slash', 'é', 'a'.repeat(129), 'a%2F'])(
      'is the only new kind: %j is refused in a create, a list and a claim',
      async (taskType) => {
        expect((await client.create({ clientRequestId: uniqueId(), taskType })).status).toBe(422);
        expectError(await client.list({ taskType }), 400, 'INVALID_REQUEST');
        expectFieldErrors(await worker.claim({ taskTypes: [taskType] }));
      },
    );
  });

  describe('a reason to cancel', () => {
    const waiting = async () =>
      (await client.create({ clientRequestId: uniqueId(), taskType: uniqueId('type') })).body.taskId;
    const reasonOf = async (taskId: string) =>
      (await client.events(taskId, { waitTimeoutMs: '0' })).body.events.at(-1)?.payload['reason'];

    it.each([
      ['null', { reason: null }],
      ['empty', { reason: '' }],
      ['absent', {}],
    ])('that is %s is none', async (_what, body) => {
      const taskId = await waiting();
      expect((await client.cancel(taskId, body)).status).toBe(202);
      expect(await reasonOf(taskId)).toBe('cancelled_by_user');
    });

    it.each([
      ['a number', 0],
      ['false', false],
      ['a list', []],
      ['an object', {}],
      ['longer than 1024 characters', 'x'.repeat(1_025)],
    ])('that is %s is refused', async (_what, reason) => {
      const taskId = await waiting();
      expectFieldErrors(await client.cancel(taskId, { reason }));
      expect((await client.snapshot(taskId)).body.status).toBe('ACCEPTED');
      await client.cancel(taskId);
    });
  });

  describe('the id of a task in upper case', () => {
    it('names the task on every route, and answers have the lower case', async () => {
      const taskId = await over();
      const upper = taskId.toUpperCase();
      expect((await client.snapshot(upper)).body.taskId).toBe(taskId);
      expect((await client.events(upper, { waitTimeoutMs: '0' })).body.taskId).toBe(taskId);
      expect((await client.cancel(upper)).body).toEqual({ taskId, status: 'ALREADY_TERMINAL' });
      const action = { clientActionId: 'a', suspendId: 'never', actionType: 'a' };
      expectError(await client.act(upper, action), 404, 'NOT_FOUND');
      const stream = followSse(client.url, upper, null, client.headers);
      expect((await stream.end()).kind).toBe('end');
      expect(stream.events.map(({ raw }) => (JSON.parse(raw) as { taskId: string }).taskId)).toEqual([taskId, taskId]);
    });

    it('names the task in frames with and without the multiplex, where it is the same task as in lower case', async () => {
      const taskId = await over();
      const upper = taskId.toUpperCase();
      const plain = followWebSocket(client.url, upper, null, client.headers);
      expect(await plain.end()).toMatchObject({ kind: 'close', code: 1000 });
      expect(JSON.parse(plain.frames[0] ?? '')).toMatchObject({ type: 'SUBSCRIPTION_CONFIRMED', taskId });
      const { taskId: open } = (await client.create({ clientRequestId: uniqueId(), taskType: uniqueId('type') })).body;
      const many = await MultiplexClient.open(client.url, client.headers);
      many.subscribe(open.toUpperCase());
      await many.frame(({ type }) => type === 'CAUGHT_UP');
      many.subscribe(open);
      expect(await many.frame(({ type }) => type === 'ERROR')).toMatchObject({
        code: 'ALREADY_SUBSCRIBED',
        taskId: open,
      });
      many.send({ action: 'unsubscribe', taskId: open.toUpperCase() });
      expect(await many.frame(({ type }) => type === 'SUBSCRIPTION_ENDED')).toMatchObject({ taskId: open });
      many.leave();
      await client.cancel(open);
    });

    it('names the task of a lease on every route of the worker protocol', async () => {
      const taskType = uniqueId('type');
      const next = async () => {
        const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType })).body;
        const lease = await worker.lease(taskType);
        expect(lease.taskId).toBe(taskId);
        return { ...lease, taskId: taskId.toUpperCase() };
      };
      const first = await next();
      expect((await worker.heartbeat(first)).status).toBe(200);
      expect((await worker.events(first, 1, [{ type: 'TASK_PROGRESS', payload: { progress: 1 } }])).status).toBe(200);
      expect((await worker.suspend(first)).status).toBe(200);
      await client.cancel(first.taskId);
      expect((await worker.complete(await next())).status).toBe(200);
      expect((await worker.fail(await next(), { retryable: false })).status).toBe(200);
      const released = await next();
      expect((await worker.release(released)).status).toBe(204);
      await client.cancel(released.taskId);
    });

    it('of another form names no task still', async () => {
      const taskId = await over();
      for (const id of [`${taskId} `, `{${taskId}}`, taskId.replaceAll('-', ''), `${taskId.toUpperCase()}0`]) {
        expectError(await client.snapshot(encodeURIComponent(id)), 404, 'TASK_NOT_FOUND');
      }
      const stranger = newPrincipal(client.url);
      expectError(await stranger.snapshot(taskId.toUpperCase()), 404, 'TASK_NOT_FOUND');
    });
  });
});
