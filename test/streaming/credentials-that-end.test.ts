import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { Client, expectError, uniqueId } from '../support/client.js';
import { followLongPoll, followSse, followWebSocket, recordWebSocket } from '../support/follow.js';
import { MultiplexClient } from '../support/multiplex-client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { message, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

const KEY = '0123456789abcdef0123456789abcdef';
const HOST_MODULE = fileURLToPath(new URL('../support/bearer-host.js', import.meta.url));

let database: TestDatabase;
let service: Service;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService(
    { DATABASE_URL: database.appUrl, HOST_MODULE, FOLLOW_TOKEN_KEYS: KEY, ...WITH_WORKERS },
    { lifetime: 'file' },
  );
});

afterAll(async () => {
  await service.stop();
  await database.drop();
});

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
/** Credentials of the host that end then, if a time is given. */
const host = (name: string, at?: number) => bearer(at === undefined ? `host:${name}` : `host:${name}:${at}`);
const client = () => new Client(service.url);

/** A task to which a worker appends an event every few milliseconds, until `stop`. */
async function busy(name: string) {
  const taskType = uniqueId('busy');
  const created = await client().create({ clientRequestId: uniqueId(), taskType }, host(name));
  expect(created.status).toBe(201);
  const worker = new WorkerClient(service.url);
  const lease = await worker.lease(taskType);
  let isWanted = true;
  let batch = 0;
  const appending = (async () => {
    while (isWanted) {
      const answer = await worker.events(lease, (batch += 1), [message(`event ${batch}`)]);
      expect(answer.status).toBe(200);
    }
  })();
  return {
    taskId: created.body.taskId,
    /** All events, when no more will come. */
    async stop(): Promise<readonly string[]> {
      isWanted = false;
      await appending;
      await worker.complete(lease, {});
      const reader = followSse(service.url, created.body.taskId, null, host(name));
      await reader.ended;
      return reader.events.map(({ raw }) => raw);
    },
  };
}

const mint = async (name: string, body: object, at?: number) => {
  const answer = await client().post<{ token: string; expiresAt: string }>(
    '/api/v1/follow-tokens',
    { may: ['read'], ...body },
    host(name, at),
  );
  expect({ status: answer.status, text: answer.text }).toMatchObject({ status: 201 });
  return answer.body;
};

const times = (raws: readonly string[]) =>
  raws.map((raw) => Date.parse((JSON.parse(raw) as { createdAt: string }).createdAt));

describe('A stream whose credentials end', () => {
  it.each([
    ['a WebSocket', followWebSocket, { kind: 'close', code: 4401, reason: 'AUTHENTICATION_ERROR' }],
    ['an SSE stream', followSse, { kind: 'end' }],
  ] as const)(
    '%s ends then, and nothing is read after that moment',
    async (_what, follow, end) => {
      const name = uniqueId('alice');
      const task = await busy(name);
      const { token, expiresAt } = await mint(name, { taskId: task.taskId, seconds: 4 });
      const byToken = follow(service.url, task.taskId, null, bearer(token));
      const endsAt = Date.now() + 4_000;
      const byHost = follow(service.url, task.taskId, null, host(name, endsAt));
      expect(await byToken.ended).toMatchObject(end);
      expect(await byHost.ended).toMatchObject(end);
      for (const [reader, at] of [
        [byToken, Date.parse(expiresAt)],
        [byHost, endsAt],
      ] as const) {
        const seen = times(reader.events.map(({ raw }) => raw));
        expect(seen.length).toBeGreaterThan(0);
        expect(Math.max(...seen)).toBeLessThanOrEqual(at + 5);
      }
      await task.stop();
    },
    60_000,
  );

  it('a long-poll is answered without an event', async () => {
    const name = uniqueId('alice');
    const created = await client().create(
      { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 60_000 } },
      host(name),
    );
    const { taskId } = created.body;
    const first = await client().request<{ nextAfterEventId: string }>('GET', `/api/v1/tasks/${taskId}/events`, {
      headers: host(name),
    });
    const { token } = await mint(name, { taskId, seconds: 1 });
    const begun = Date.now();
    const page = await client().request(
      'GET',
      `/api/v1/tasks/${taskId}/events?waitTimeoutMs=30000&afterEventId=${first.body.nextAfterEventId}`,
      {
        headers: bearer(token),
      },
    );
    expect(page).toMatchObject({
      status: 200,
      body: { events: [], hasMore: false, terminal: false, headEventId: '1' },
    });
    expect(Date.now() - begun).toBeLessThan(2_000);
    expect(await followLongPoll(service.url, taskId, '1', bearer(token)).ended).toMatchObject({
      kind: 'status',
      code: 401,
    });
  });

  it('a multiplexed connection says so before, and misses nothing when it is renewed, again and again', async () => {
    const name = uniqueId('alice');
    const task = await busy(name);
    let { token } = await mint(name, { taskId: task.taskId, seconds: 8 });
    const many = await MultiplexClient.open(service.url, bearer(token));
    many.subscribe(task.taskId);
    const expiring = () => many.frames.filter(({ type }) => type === 'AUTH_EXPIRING').length;
    for (let renewal = 1; renewal <= 3; renewal += 1) {
      await many.until(() => expiring() === renewal);
      ({ token } = await mint(name, { taskId: task.taskId, seconds: 8 }));
      many.send({ action: 'authenticate', token });
      await many.until(() => many.frames.filter(({ type }) => type === 'AUTHENTICATED').length === renewal);
      // Behind the end of the credentials before.
      await delay(5_000);
    }
    ({ token } = await mint(name, { taskId: task.taskId, seconds: 900 }));
    many.send({ action: 'authenticate', token });
    await many.until(() => many.frames.filter(({ type }) => type === 'AUTHENTICATED').length === 4);
    const log = await task.stop();
    await many.until(() => many.ended(task.taskId));
    expect(many.envelopes(task.taskId)).toEqual(log);
    many.leave();
  }, 60_000);

  it('a multiplexed connection with a short token is asked for the next one at half of its time, and not at once', async () => {
    const name = uniqueId('alice');
    const { token } = await mint(name, { owner: true, seconds: 6 });
    const openedAt = performance.now();
    const many = await MultiplexClient.open(service.url, bearer(token));
    await many.frame(({ type }) => type === 'AUTH_EXPIRING');
    expect(performance.now() - openedAt).toBeGreaterThan(2_000);
    many.leave();
  });

  it('a multiplexed connection that is not renewed closes with 4401', async () => {
    const name = uniqueId('alice');
    const task = await busy(name);
    const many = await MultiplexClient.open(service.url, host(name, Date.now() + 4_000));
    many.subscribe(task.taskId);
    const { raw } = await many.frame(({ type }) => type === 'AUTH_EXPIRING');
    const expiresAt = Date.parse((JSON.parse(raw) as { expiresAt: string }).expiresAt);
    expect(await many.close()).toEqual({ code: 4401, reason: 'AUTHENTICATION_ERROR' });
    expect(Math.max(...times(many.envelopes(task.taskId)))).toBeLessThanOrEqual(expiresAt + 5);
    await task.stop();
  });

  it('goes on with a bearer token of the host, and with nothing of another principal or reach', async () => {
    const name = uniqueId('alice');
    const created = await client().create(
      { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 60_000 } },
      host(name),
    );
    const { taskId } = created.body;
    const many = await MultiplexClient.open(service.url, host(name, Date.now() + 4_000));
    many.subscribe(taskId);
    await many.frame(({ type }) => type === 'CAUGHT_UP');
    const own = await mint(name, { owner: true });
    const foreign = await mint(uniqueId('bob'), { owner: true });
    const refused = () =>
      many.frames.filter(({ type, code }) => type === 'ERROR' && code === 'AUTHENTICATION_ERROR').length;
    const bad = [own.token, foreign.token, `${own.token}x`, `host:${uniqueId('bob')}`, 'nonsense', `host:${name}:0`];
    for (const [at, token] of bad.entries()) {
      many.send({ action: 'authenticate', token });
      await many.until(() => refused() === at + 1);
    }
    many.send({ action: 'authenticate', token: `host:${name}` });
    const { raw } = await many.frame(({ type }) => type === 'AUTHENTICATED');
    expect(JSON.parse(raw)).toEqual({ type: 'AUTHENTICATED' });
    // Behind the end of the first credentials.
    await delay(4_500);
    expect(many.closed).toBeUndefined();
    many.unsubscribe(taskId);
    await many.frame(({ type }) => type === 'SUBSCRIPTION_ENDED');
    expect(many.frames.map(({ raw: text }) => text).join()).not.toContain(own.token);
    many.leave();
  });

  it('answers one authenticate at a time', async () => {
    const name = uniqueId('alice');
    const many = await MultiplexClient.open(service.url, host(name));
    many.together(() => {
      for (let i = 0; i < 20; i += 1) many.send({ action: 'authenticate', token: `host:${name}` });
    });
    await many.until(
      () => many.frames.filter(({ type }) => type === 'AUTHENTICATED' || type === 'ERROR').length === 20,
    );
    expect(many.frames.some(({ type }) => type === 'AUTHENTICATED')).toBe(true);
    for (const { type, code } of many.frames) {
      if (type === 'ERROR') expect(code).toBe('TOO_MANY_REQUESTS');
    }
    many.leave();
  });

  it('knows no authenticate without the multiplex', async () => {
    const socket = new WebSocket(`${service.url.replace('http', 'ws')}/api/v1/tasks/ws`, { headers: host('alice') });
    socket.on('open', () => socket.send(JSON.stringify({ action: 'authenticate', token: 'host:alice' })));
    expect(await recordWebSocket(socket).ended).toMatchObject({ kind: 'close', code: 4400 });
  });

  it('ends where the host says that they no longer count', async () => {
    const [name, staying] = [uniqueId('ends'), uniqueId('stays')];
    const streams = await Promise.all(
      [name, staying].map(async (who) => {
        const created = await client().create(
          { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 90_000 } },
          host(who),
        );
        const { taskId } = created.body;
        const { token } = await mint(who, { taskId });
        return [
          followWebSocket(service.url, taskId, null, host(who)),
          followWebSocket(service.url, taskId, null, bearer(token)),
          followSse(service.url, taskId, null, host(who)),
        ];
      }),
    );
    const [ended = [], open = []] = streams;
    const begun = Date.now();
    const ends = await Promise.all(ended.map(({ ended: end }) => end));
    expect(ends.map(({ kind, code }) => code ?? kind)).toEqual([4401, 4401, 'end']);
    expect(Date.now() - begun).toBeLessThan(33_000);
    expect(open.map(({ outcome }) => outcome)).toEqual([undefined, undefined, undefined]);
    for (const stream of open) stream.close();
  }, 60_000);
});

describe('With a resolver of a host, a follow token', () => {
  it('is never seen by the resolver, carries what the host said, and outlives nothing', async () => {
    const name = uniqueId('alice');
    const created = await client().create(
      { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 60_000 } },
      host(name),
    );
    const { taskId } = created.body;
    const before = Date.now();
    const { token, expiresAt } = await mint(name, { taskId, seconds: 900 }, before + 5_000);
    expect(Date.parse(expiresAt)).toBeLessThanOrEqual(before + 5_000);
    expect(Date.parse(expiresAt)).toBeGreaterThan(before + 4_000);
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as object;
    expect(claims).toMatchObject({
      subject: name,
      tenantId: 'of-host',
      appId: 'app-of-host',
      attributes: { session: `session of ${name}` },
    });
    const path = `/api/v1/tasks/${taskId}`;
    expect((await client().request('GET', path, { headers: bearer(token) })).status).toBe(200);
    const stream = (headers: Record<string, string>) =>
      client().request('GET', `${path}/events/stream?token=${token}&lastEventId=99`, { headers });
    // 409: the cursor is ahead, so the token counted.
    expectError(await stream({}), 409, 'CURSOR_AHEAD');
    expectError(await stream(host(name)), 409, 'CURSOR_AHEAD');
    expectError(await stream(host('bob')), 401, 'AUTHENTICATION_ERROR');
    const socket = new WebSocket(`${service.url.replace('http', 'ws')}/api/v1/tasks/ws`, [
      'taskbridge.v1',
      `taskbridge.token.${token}`,
    ]);
    socket.on('open', () => socket.send(JSON.stringify({ action: 'subscribe', taskId })));
    const reader = recordWebSocket(socket);
    await reader.waitFor(({ events }) => events.length > 0);
    reader.close();
    // Nor where the service takes none.
    expect((await client().request('GET', `${path}?token=${token}`, { headers: host(name) })).status).toBe(400);
    expect((await client().request('GET', `/api/v1?token=${token}`, { headers: bearer(token) })).status).toBe(400);
    const inQuery = new WebSocket(`${service.url.replace('http', 'ws')}/api/v1/tasks/ws?token=${token}&a=1`);
    expect(await recordWebSocket(inQuery).ended).toMatchObject({ kind: 'status', code: 401 });
    expect(service.stdout()).not.toContain('was given a follow token');
  });

  it('is not minted for a principal with more attributes than it can carry, nor with credentials that have ended', async () => {
    const body = { owner: true, may: ['read'] };
    expectError(await client().post('/api/v1/follow-tokens', body, host('large')), 403, 'ACCESS_DENIED');
    expectError(await client().post('/api/v1/follow-tokens', body, host('alice', 0)), 401, 'AUTHENTICATION_ERROR');
  });
});

describe('At STREAM_MAX_SECONDS', () => {
  it('a connection that names the mode for one task closes with 1012, too', async () => {
    const young = await startService({ DATABASE_URL: database.appUrl, STREAM_MAX_SECONDS: '1' });
    const by = new Client(young.url, 'alice');
    const { taskId } = (await by.create({ clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 60_000 } }))
      .body;
    const socket = new WebSocket(`${young.url.replace('http', 'ws')}/api/v1/tasks/ws`, ['taskbridge.v1'], {
      headers: by.headers,
    });
    socket.on('open', () => socket.send(JSON.stringify({ action: 'subscribe', taskId })));
    expect(await recordWebSocket(socket).ended).toMatchObject({ kind: 'close', code: 1012, reason: 'MAX_AGE' });
    await eventually('the service is still there', async () => (await by.snapshot(taskId)).status === 200);
    await young.stop();
  });
});
