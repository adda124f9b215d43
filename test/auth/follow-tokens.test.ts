import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { signed } from '../../src/auth/follow-token-text.js';
import { Client, expectError, expectFieldErrors, newPrincipal, uniqueId } from '../support/client.js';
import { followSse, Reader, recordWebSocket } from '../support/follow.js';
import { MultiplexClient, SUBPROTOCOL } from '../support/multiplex-client.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';

const KEY = '0123456789abcdef0123456789abcdef';
const NEW_KEY = 'fedcba9876543210fedcba9876543210';
const PLAIN = 'taskbridge.v1';

interface Minted {
  readonly token: string;
  readonly expiresAt: string;
}

let database: TestDatabase;
let service: Service;
/** Another replica. */
let other: Service;

beforeAll(async () => {
  database = await createTestDatabase();
  const env = { DATABASE_URL: database.appUrl, FOLLOW_TOKEN_KEYS: KEY, REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' };
  [service, other] = await Promise.all([
    startService(env, { lifetime: 'file' }),
    startService(env, { lifetime: 'file' }),
  ]);
});

afterAll(async () => {
  await Promise.all([service.stop(), other.stop()]);
  await database.drop();
});

const mint = (by: Client, body: object, headers: Record<string, string> = {}) =>
  by.post<Minted>('/api/v1/follow-tokens', body, headers);
const minted = async (by: Client, body: object, headers: Record<string, string> = {}): Promise<string> => {
  const answer = await mint(by, { may: ['read'], ...body }, headers);
  expect({ status: answer.status, text: answer.text }).toMatchObject({ status: 201 });
  return answer.body.token;
};
const revoke = (by: Client, query: string) => by.request('DELETE', `/api/v1/follow-tokens?${query}`);
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
const sleeping = async (by: Client, headers: Record<string, string> = {}, ms = 600_000) => {
  const created = await by.create({ clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms } }, headers);
  expect(created.status).toBe(201);
  const { taskId } = created.body;
  // The task runs.
  await by.request('GET', `/api/v1/tasks/${taskId}/events?waitTimeoutMs=10000`, { headers });
  return taskId;
};
/** With a follow token and nothing else. */
const read = (url: string, taskId: string, token: string) =>
  new Client(url).request<{ taskId: string }>('GET', `/api/v1/tasks/${taskId}`, { headers: bearer(token) });
const sockets = (url: string, protocols: readonly string[], headers: Record<string, string> = {}) =>
  new WebSocket(`${url.replace('http', 'ws')}/api/v1/tasks/ws`, [...protocols], { headers });
const multiplexed = (token: string, url = service.url) => MultiplexClient.open(url, bearer(token));
/** A WebSocket that names its mode, and shows the token as a page does. */
const plain = (url: string, taskId: string, token: string): Reader => {
  const socket = sockets(url, [PLAIN, `taskbridge.token.${token}`]);
  socket.on('open', () => socket.send(JSON.stringify({ action: 'subscribe', taskId })));
  return recordWebSocket(socket);
};

describe('A follow token', () => {
  it('opens its task to its holder, on every replica', async () => {
    const owner = newPrincipal(service.url);
    const taskId = await sleeping(owner);
    const answer = await mint(owner, { taskId: taskId.toUpperCase(), may: ['read', 'read'], seconds: 60 });
    expect(answer).toMatchObject({ status: 201, body: { token: expect.any(String), expiresAt: expect.any(String) } });
    expect(Object.keys(answer.body).sort()).toEqual(['expiresAt', 'token']);
    const lives = Date.parse(answer.body.expiresAt) - Date.now();
    expect(lives).toBeGreaterThan(50_000);
    expect(lives).toBeLessThanOrEqual(61_000);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    for (const { url } of [service, other]) {
      expect(await read(url, taskId, answer.body.token)).toMatchObject({ status: 200, body: { taskId } });
    }
  });

  it.each([
    ['neither a task nor an owner', { may: ['read'] }, 'taskId'],
    ['both', { taskId: '01890000-0000-7000-8000-000000000000', owner: true, may: ['read'] }, 'taskId'],
    ['an owner that is false', { owner: false, may: ['read'] }, 'owner'],
    ['no rights', { owner: true, may: [] }, 'may'],
    ['a right that there is not', { owner: true, may: ['read', 'create'] }, 'may'],
    ['more than 900 seconds', { owner: true, may: ['read'], seconds: 901 }, 'seconds'],
    ['no time', { owner: true, may: ['read'], seconds: 0 }, 'seconds'],
    ['a member that there is not', { owner: true, may: ['read'], scopes: ['tasks:admin'] }, 'scopes'],
  ])('is not minted with %s', async (_what, body, path) => {
    expect(expectFieldErrors(await mint(newPrincipal(service.url), body)).map((error) => error.path)).toContain(path);
  });

  it('has no right that its principal lacks, and no power over tasks of others', async () => {
    const owner = newPrincipal(service.url);
    const taskId = await sleeping(owner);
    const reader = { 'X-Principal-Scopes': 'tasks:read' };
    for (const right of ['answer', 'cancel']) {
      expectError(await mint(owner, { taskId, may: ['read', right] }, reader), 403, 'ACCESS_DENIED');
    }
    expectError(
      await mint(owner, { taskId, may: ['read'] }, { 'X-Principal-Scopes': 'tasks:write' }),
      403,
      'ACCESS_DENIED',
    );
    const stranger = newPrincipal(service.url);
    expectError(await mint(stranger, { taskId, may: ['read'] }), 404, 'TASK_NOT_FOUND');
    const token = await minted(stranger, { owner: true });
    expectError(await read(service.url, taskId, token), 404, 'TASK_NOT_FOUND');
  });

  it('of one task opens no page of another one, in either direction', async () => {
    const owner = newPrincipal(service.url);
    const [taskId, another] = [await sleeping(owner), await sleeping(owner)];
    const token = await minted(owner, { taskId });
    for (const query of ['waitTimeoutMs=0', 'beforeEventId=2', 'afterEventId=0&waitTimeoutMs=0']) {
      const page = (task: string) =>
        new Client(service.url).request('GET', `/api/v1/tasks/${task}/events?${query}`, { headers: bearer(token) });
      expect((await page(taskId)).status).toBe(200);
      expectError(await page(another), 404, 'TASK_NOT_FOUND');
    }
    for (const more of ['', '?include=output']) {
      const path = `/api/v1/tasks/${another}${more}`;
      expectError(
        await new Client(service.url).request('GET', path, { headers: bearer(token) }),
        404,
        'TASK_NOT_FOUND',
      );
    }
  });

  it('is refused with any character changed, cut anywhere, and in any other text', async () => {
    const owner = newPrincipal(service.url);
    const taskId = await sleeping(owner);
    const token = await minted(owner, { taskId });
    const changed = [...token].flatMap((was, at) => [
      token.slice(0, at) + (was === 'A' ? 'B' : 'A') + token.slice(at + 1),
      token.slice(0, at),
    ]);
    const [, claims = '', signature = ''] = token.split('.');
    const says = JSON.parse(Buffer.from(claims, 'base64url').toString()) as object;
    const padded = Buffer.from(`${JSON.stringify(says)} `).toString('base64url');
    const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const others = [
      `${token}=`,
      `${token}.`,
      `${token} x`,
      `tbf1.${padded}.${signature}`,
      `tbf1.${claims}.`,
      `tbf1..${signature}`,
      `TBF1.${claims}.${signature}`,
      `tbf2.${claims}.${signature}`,
      `tbf1.${'A'.repeat(100_000)}.${signature}`.slice(0, 8_000),
      signed({ ...(says as Parameters<typeof signed>[0]) }, NEW_KEY),
      // The last character of a signature has two bits that base64 ignores.
      ...[...last].filter((one) => one !== token.at(-1)).map((one) => token.slice(0, -1) + one),
    ];
    expect((await read(service.url, taskId, token)).status).toBe(200);
    const answers = new Map<number, number>();
    for (const bad of [...changed, ...others]) {
      const { status } = await read(service.url, taskId, bad);
      answers.set(status, (answers.get(status) ?? 0) + 1);
    }
    // Without the whole prefix it is another bearer token, which proves nothing here either.
    expect([...answers.keys()]).toEqual([401]);
  });

  it('is over at its end, by the clock of the database, on every route', async () => {
    const owner = newPrincipal(service.url);
    const taskId = await sleeping(owner);
    const token = await minted(owner, { taskId, seconds: 1 });
    expect((await read(service.url, taskId, token)).status).toBe(200);
    await eventually('the token is over', async () => (await read(service.url, taskId, token)).status === 401);
    // Each replica knows the clock of the database to some milliseconds.
    await eventually('and on the other replica', async () => (await read(other.url, taskId, token)).status === 401);
    expectError(await read(other.url, taskId, token), 401, 'AUTHENTICATION_ERROR');
    expect(await plain(service.url, taskId, token).ended).toMatchObject({ kind: 'status', code: 401 });
  });

  it('is taken from the header, from a subprotocol, and on a stream from the query', async () => {
    const owner = newPrincipal(service.url);
    const taskId = await sleeping(owner);
    const token = await minted(owner, { taskId });
    for (const mode of [PLAIN, SUBPROTOCOL]) {
      const socket = sockets(service.url, [`taskbridge.token.${token}`, mode]);
      await once(socket, 'open');
      expect(socket.protocol).toBe(mode);
      socket.terminate();
    }
    const both = sockets(service.url, [PLAIN, SUBPROTOCOL, `taskbridge.token.${token}`]);
    await once(both, 'open');
    expect(both.protocol).toBe(SUBPROTOCOL);
    both.terminate();
    const reader = plain(service.url, taskId, token);
    await reader.waitFor(({ events }) => events.length > 0);
    reader.close();
    const response = await fetch(`${service.url}/api/v1/tasks/${taskId}/events/stream?token=${token}`);
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('no-store, no-transform');
    expect(response.headers.get('referrer-policy')).toBe('no-referrer');
    await response.body?.cancel();
  });

  it('is not taken from the query elsewhere, beside another one, or where there is none', async () => {
    const owner = newPrincipal(service.url);
    const taskId = await sleeping(owner);
    const token = await minted(owner, { owner: true, may: ['read', 'cancel'] });
    const nobody = new Client(service.url);
    const path = `/api/v1/tasks/${taskId}`;
    for (const [method, address] of [
      ['GET', path],
      ['GET', '/api/v1/tasks'],
      ['GET', '/api/v1'],
      ['GET', `${path}/events`],
      ['POST', `${path}/cancel`],
    ] as const) {
      const refused = await nobody.request(method, `${address}?token=${token}`);
      expect([400, 401]).toContain(refused.status);
      expect(refused.text).not.toContain(token);
      // Credentials of its own do not make it a parameter that the route knows.
      expect((await owner.request(method, `${address}?token=${token}`)).status).toBe(400);
    }
    const address = `${service.url.replace('http', 'ws')}/api/v1/tasks/ws?token=${token}`;
    for (const { headers } of [{ headers: {} }, owner])
      expect(await recordWebSocket(new WebSocket(address, [PLAIN], { headers })).ended).toMatchObject({
        kind: 'status',
        code: 401,
      });
    const stream = `${path}/events/stream`;
    const twice = await nobody.request('GET', `${stream}?token=${token}`, { headers: bearer(token) });
    expectError(twice, 401, 'AUTHENTICATION_ERROR');
    expectError(await nobody.request('GET', `${stream}?token=${token}&token=${token}`), 401, 'AUTHENTICATION_ERROR');
    expectError(await nobody.request('GET', `${stream}?token=`), 401, 'AUTHENTICATION_ERROR');
    expectError(await nobody.request('GET', `${stream}?token=x`), 401, 'AUTHENTICATION_ERROR');
  });

  it('is refused beside the proof of another principal, and counts beside that of its own', async () => {
    const owner = newPrincipal(service.url);
    const stranger = newPrincipal(service.url);
    const taskId = await sleeping(owner);
    const token = await minted(owner, { taskId });
    const path = `/api/v1/tasks/${taskId}`;
    const asked = (by: Client, address: string, headers: Record<string, string> = {}) =>
      by.request('GET', address, { headers });
    expectError(await asked(stranger, path, bearer(token)), 401, 'AUTHENTICATION_ERROR');
    expectError(await asked(owner, path, { ...bearer(token), 'X-Tenant-Id': 'another' }), 401, 'AUTHENTICATION_ERROR');
    expectError(await asked(stranger, `${path}/events/stream?token=${token}`), 401, 'AUTHENTICATION_ERROR');
    const offered = [PLAIN, `taskbridge.token.${token}`];
    const refused = recordWebSocket(sockets(service.url, offered, stranger.headers));
    expect(await refused.ended).toMatchObject({ kind: 'status', code: 401 });
    const page = recordWebSocket(sockets(service.url, offered, { ...stranger.headers, Origin: service.url }));
    expect(await page.ended).toMatchObject({ kind: 'close', code: 4401 });
    const lease = { ...bearer(token), 'X-Lease-Token': 'a-lease' };
    expectError(
      await asked(new Client(service.url), `${path}/attachments/${taskId}`, lease),
      401,
      'AUTHENTICATION_ERROR',
    );
    // Its own proof does not widen what the token opens.
    expect((await asked(owner, path, bearer(token))).status).toBe(200);
    expectError(await asked(owner, '/api/v1/tasks', bearer(token)), 403, 'ACCESS_DENIED');
  });

  it('for an owner reads the list and every task of the owner, and mints nothing', async () => {
    const owner = newPrincipal(service.url);
    const [first, second] = [await sleeping(owner), await sleeping(owner)];
    const token = await minted(owner, { owner: true });
    const holder = new Client(service.url);
    const list = await holder.request<{ items: { taskId: string }[] }>('GET', '/api/v1/tasks', {
      headers: bearer(token),
    });
    expect(list.body.items.map(({ taskId }) => taskId).sort()).toEqual([first, second].sort());
    expectError(await mint(holder, { owner: true, may: ['read'] }, bearer(token)), 403, 'ACCESS_DENIED');
    const client = await multiplexed(token);
    client.subscribe(first);
    client.subscribe(second);
    await client.until(() => client.envelopes(first).length > 0 && client.envelopes(second).length > 0);
    client.leave();
  });

  it('counts its streams among those of its principal', async () => {
    const few = await startService({
      DATABASE_URL: database.appUrl,
      FOLLOW_TOKEN_KEYS: KEY,
      STREAMS_PER_PRINCIPAL: '1',
    });
    const owner = newPrincipal(few.url);
    const taskId = await sleeping(owner);
    const token = await minted(owner, { taskId });
    const first = followSse(few.url, taskId, null, bearer(token));
    await first.waitFor(({ events }) => events.length > 0);
    expectError(await owner.request('GET', `/api/v1/tasks/${taskId}/events/stream`), 429, 'TOO_MANY_REQUESTS');
    first.close();
    await few.stop();
  });
});

describe('Without keys', () => {
  it('the routes say so, the feature is not listed, and no token counts', async () => {
    const without = await startService({ DATABASE_URL: database.appUrl });
    const owner = newPrincipal(without.url);
    const taskId = await sleeping(owner);
    expect(expectError(await mint(owner, { taskId, may: ['read'] }), 404, 'NOT_FOUND').message).toContain(
      'FOLLOW_TOKEN_KEYS',
    );
    expectError(await revoke(owner, 'owner=true'), 404, 'NOT_FOUND');
    const features = async ({ url }: Service) =>
      (await newPrincipal(url).request<{ features: string[] }>('GET', '/api/v1')).body.features;
    expect(await features(without)).not.toContain('followTokens');
    // Nor while one of the replicas has none.
    await eventually('the others see the replica', async () => !(await features(service)).includes('followTokens'));
    const { token } = (await mint(newPrincipal(service.url), { owner: true, may: ['read'] })).body;
    expectError(await read(without.url, taskId, token), 401, 'AUTHENTICATION_ERROR');
    await without.stop();
    await eventually('the feature is back', async () => (await features(service)).includes('followTokens'));
  });
});

describe('After a change of keys', () => {
  it('the old tokens count until they end, where the old key is still there', async () => {
    const env = { DATABASE_URL: database.appUrl, REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' };
    const [both, newest] = await Promise.all([
      startService({ ...env, FOLLOW_TOKEN_KEYS: `${NEW_KEY},${KEY}` }),
      startService({ ...env, FOLLOW_TOKEN_KEYS: NEW_KEY }),
    ]);
    const owner = newPrincipal(service.url);
    const taskId = await sleeping(owner);
    const old = await minted(owner, { taskId, seconds: 2 });
    const young = await minted(newOn(both, owner), { taskId });
    expect((await read(both.url, taskId, old)).status).toBe(200);
    expect((await read(newest.url, taskId, old)).status).toBe(401);
    expect((await read(newest.url, taskId, young)).status).toBe(200);
    expect((await read(service.url, taskId, young)).status).toBe(401);
    await eventually('the old one is over', async () => (await read(both.url, taskId, old)).status === 401);
    await Promise.all([both.stop(), newest.stop()]);
  });

  const newOn = ({ url }: Service, { principal }: Client) => new Client(url, principal);
});

describe('A revocation', () => {
  it.each([
    ['of a task', (taskId: string) => `taskId=${taskId}`],
    ['of an owner', () => 'owner=true'],
  ])('%s is honoured by every replica within 2 s, and ends open streams', async (_of, query) => {
    const owner = newPrincipal(service.url);
    const [taskId, another] = [await sleeping(owner), await sleeping(owner)];
    const token = await minted(owner, { taskId });
    const spared = await minted(owner, { taskId: another });
    const streams = [service, other].flatMap(({ url }) => [
      plain(url, taskId, token),
      followSse(url, taskId, null, bearer(token)),
    ]);
    await Promise.all(streams.map((stream) => stream.waitFor(({ events }) => events.length > 0)));
    const client = await multiplexed(token, other.url);
    client.subscribe(taskId);
    await client.frame(({ type }) => type === 'CAUGHT_UP');
    expect((await revoke(owner, query(taskId))).status).toBe(204);
    const revokedAt = Date.now();
    expectError(await read(service.url, taskId, token), 401, 'AUTHENTICATION_ERROR');
    await eventually('the other replica refuses', async () => (await read(other.url, taskId, token)).status === 401);
    const ends = await Promise.all(streams.map(({ ended }) => ended));
    expect(ends.map(({ kind, code }) => code ?? kind)).toEqual([4401, 'end', 4401, 'end']);
    expect(await client.close()).toEqual({ code: 4401, reason: 'AUTHENTICATION_ERROR' });
    expect(Date.now() - revokedAt).toBeLessThan(2_000);
    // The tokens of its other tasks go with the owner alone.
    expect((await read(service.url, another, spared)).status).toBe(query(taskId) === 'owner=true' ? 401 : 200);
  });

  it('spares tokens that are minted after it, even at once', async () => {
    const owner = newPrincipal(service.url);
    const taskId = await sleeping(owner);
    for (let round = 0; round < 20; round += 1) {
      const before = await minted(owner, { taskId });
      await revoke(owner, round % 2 === 0 ? 'owner=true' : `taskId=${taskId}`);
      const after = await minted(owner, { taskId });
      expect((await read(service.url, taskId, before)).status).toBe(401);
      expect((await read(service.url, taskId, after)).status).toBe(200);
    }
  });

  it('is for those who control the task, and demands one of the two', async () => {
    const owner = newPrincipal(service.url);
    const taskId = await sleeping(owner);
    const token = await minted(owner, { taskId, may: ['read', 'cancel'] });
    expectError(await revoke(newPrincipal(service.url), `taskId=${taskId}`), 404, 'TASK_NOT_FOUND');
    expectError(await revoke(owner, ''), 400, 'INVALID_REQUEST');
    expectError(await revoke(owner, `owner=true&taskId=${taskId}`), 400, 'INVALID_REQUEST');
    expectError(await revoke(owner, 'owner=false'), 400, 'INVALID_REQUEST');
    const byToken = await new Client(service.url).request('DELETE', '/api/v1/follow-tokens?owner=true', {
      headers: bearer(token),
    });
    expectError(byToken, 403, 'ACCESS_DENIED');
    expect((await read(service.url, taskId, token)).status).toBe(200);
  });

  it('that cannot be read refuses every new use, and what is open goes on', async () => {
    const proxy = await PostgresProxy.start(database.appUrl);
    const cut = await startService({ DATABASE_URL: proxy.url, FOLLOW_TOKEN_KEYS: KEY });
    const owner = newPrincipal(cut.url);
    const taskId = await sleeping(owner);
    const token = await minted(owner, { taskId });
    const client = await multiplexed(token, cut.url);
    client.subscribe(taskId);
    await client.frame(({ type }) => type === 'CAUGHT_UP');
    await proxy.refuse();
    await eventually('the token is refused', async () => {
      const { status, body } = await read(cut.url, taskId, token);
      return status === 503 && /revoked/.test((body as unknown as { message: string }).message);
    });
    client.unsubscribe(taskId);
    await client.frame(({ type }) => type === 'SUBSCRIPTION_ENDED');
    client.subscribe(taskId, { ref: 'again' });
    expect(await client.frame(({ ref }) => ref === 'again')).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(cut.stdout()).toContain('"msg":"follow_tokens.failed"');
    const gauge = async () =>
      /^taskbridge_follow_tokens_refused (\d)$/m.exec(await (await fetch(`${cut.url}/metrics`)).text())?.[1];
    expect(await gauge()).toBe('1');
    await proxy.accept();
    await eventually('the token counts again', async () => (await read(cut.url, taskId, token)).status === 200);
    expect(await gauge()).toBe('0');
    client.leave();
    await cut.stop();
    await proxy.close();
  });
});
