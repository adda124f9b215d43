import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, type Created, expectError, newPrincipal, rawBytes, uniqueId } from '../support/client.js';
import { field, file, formOf } from '../support/form.js';
import { followWebSocket } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';

const HOST_MODULE = fileURLToPath(new URL('../support/naming-host.js', import.meta.url));

let database: TestDatabase;
let service: Service;

const logged = (event: string) =>
  service
    .stdout()
    .split('\n')
    .filter((line) => line.includes(`"msg":"${event}"`))
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);

const body = () => ({ clientRequestId: uniqueId('request'), taskType: 'demo.echo', input: { text: 'secret' } });

describe('A principal from a resolver of a host module', () => {
  const as = (subject: string) => ({ 'X-Test-Subject': encodeURIComponent(subject) });

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService({ DATABASE_URL: database.appUrl, HOST_MODULE, APP_ENV: 'test' }, { lifetime: 'file' });
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  it.each([
    ['the system principal', '00000000-0000-0000-0000-000000000000'],
    ['the name of the system', 'System'],
    ['the name of a worker', 'worker:alice'],
    ['the same with spaces around it', ' Worker:alice '],
    ['empty', ''],
    ['too long', 'a'.repeat(129)],
    ['nothing that can be stored', 'a\u0000b'],
  ])('is refused over HTTP, SSE and WebSocket when it is %s', async (_what, subject) => {
    const client = new Client(service.url);
    const { taskId } = (await client.create(body(), as('alice'))).body;
    expectError(await client.create(body(), as(subject)), 401, 'AUTHENTICATION_ERROR');
    const stream = await client.request('GET', `/api/v1/tasks/${taskId}/events/stream`, { headers: as(subject) });
    expectError(stream, 401, 'AUTHENTICATION_ERROR');
    const ended = await followWebSocket(service.url, taskId, null, as(subject)).end();
    expect(ended).toMatchObject({ kind: 'status', code: 401 });
    const page = { ...as(subject), Origin: service.url };
    const closed = await followWebSocket(service.url, taskId, null, page).end();
    expect(closed).toMatchObject({ kind: 'close', code: 4401, reason: 'AUTHENTICATION_ERROR' });
  });

  it('is taken as it is otherwise', async () => {
    const client = new Client(service.url);
    const { taskId } = (await client.create(body(), as('Ada Lovelace'))).body;
    expect(await client.snapshot(taskId, as('Ada Lovelace'))).toMatchObject({ status: 200 });
    expectError(await client.snapshot(taskId, as('ada lovelace')), 404, 'TASK_NOT_FOUND');
  });

  it('leaves out of the weak settings what the module replaces', () => {
    const names = logged('weak_setting.found').map(({ setting }) => setting);
    expect(names).toContain('OTEL_EXPORTER');
    for (const replaced of ['REQUIRE_AUTHENTICATED_PRINCIPAL', 'AUTH_PROXY_SECRET', 'ATTACHMENT_STORE']) {
      expect(names).not.toContain(replaced);
    }
  });
});

describe.each(['owner', 'tenant'])('With the policy %s the scope tasks:admin', (policy) => {
  const scopes = (list: string) => ({ 'X-Principal-Scopes': list });
  let taskId: string;
  let attachmentId: string;
  let owner: Client;
  let admin: Client;

  beforeAll(async () => {
    const [created, dataDirectory] = await Promise.all([createTestDatabase(), temporaryDirectory()]);
    database = created;
    const env = { DATABASE_URL: database.appUrl, DATA_DIR: dataDirectory, OWNERSHIP_POLICY: policy };
    service = await startService(env, { lifetime: 'file' });
    owner = newPrincipal(service.url);
    admin = newPrincipal(service.url);
    const form = formOf([
      field('clientRequestId', uniqueId('request')),
      field('taskType', 'demo.echo'),
      file('a.txt', 'hello'),
    ]);
    const headers = { ...form.headers, 'X-Tenant-Id': 'somewhere-else' };
    ({ taskId } = (await owner.request<Created>('POST', '/api/v1/tasks', { ...form, headers })).body);
    const read = () => admin.snapshot(taskId, scopes('tasks:admin'));
    const { attachments } = (await read()).body as unknown as { attachments: { attachmentId: string }[] };
    attachmentId = attachments[0]?.attachmentId ?? '';
    await eventually('the task is over', async () => (await read()).body.status === 'COMPLETED');
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  it('reads every task of every tenant, its events and files', async () => {
    const headers = scopes('tasks:admin');
    const path = `/api/v1/tasks/${taskId}`;
    expect(await admin.snapshot(taskId, headers)).toMatchObject({ status: 200, body: { status: 'COMPLETED' } });
    expect(await admin.request('GET', `${path}/events`, { headers })).toMatchObject({ status: 200 });
    const stream = await admin.request('GET', `${path}/events/stream`, { headers });
    expect(stream.text).toContain('TASK_COMPLETED');
    const download = await admin.request('GET', `${path}/attachments/${attachmentId}`, { headers });
    expect(download).toMatchObject({ status: 200, text: 'hello' });
    const ended = await followWebSocket(service.url, taskId, null, { ...admin.headers, ...headers }).end();
    expect(ended).toMatchObject({ kind: 'close', code: 1000 });
  });

  it('controls nothing, alone or with other scopes', async () => {
    const cancel = (list: string) => admin.request('POST', `/api/v1/tasks/${taskId}/cancel`, { headers: scopes(list) });
    expectError(await cancel('tasks:admin'), 403, 'ACCESS_DENIED');
    expectError(await cancel('tasks:admin tasks:write tasks:read'), 404, 'TASK_NOT_FOUND');
    expectError(await admin.create(body(), scopes('tasks:admin')), 403, 'ACCESS_DENIED');
  });

  it('lists no more than its own tasks', async () => {
    const list = await admin.request('GET', '/api/v1/tasks', { headers: scopes('tasks:admin') });
    expect(list).toMatchObject({ status: 200, body: { items: [] } });
  });

  it('is not what a principal has that reads', async () => {
    expectError(await admin.snapshot(taskId, scopes('tasks:read')), 404, 'TASK_NOT_FOUND');
  });
});

describe.each(['owner', 'tenant'])('With the policy %s', (policy) => {
  const PROOF = 'the-proof-of-the-proxy-in-tests';
  /** Demands a principal and no proof; demands both; demands neither. */
  let trusting: Service;
  let proving: Service;
  let local: Service;
  let created: TestDatabase;

  beforeAll(async () => {
    created = await createTestDatabase();
    const env = { DATABASE_URL: created.appUrl, OWNERSHIP_POLICY: policy };
    const demanding = { ...env, REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' };
    [trusting, proving, local] = await Promise.all([
      startService(demanding, { lifetime: 'file' }),
      startService({ ...demanding, AUTH_PROXY_SECRET: PROOF }, { lifetime: 'file' }),
      startService(env, { lifetime: 'file' }),
    ]);
  });

  afterAll(async () => {
    await Promise.all([trusting, proving, local].map((one) => one.stop()));
    await created.drop();
  });

  /** A task that waits, and the calls of others on it. */
  const waiting = async (by: Client, headers: Record<string, string> = {}) => {
    const sent = { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 60_000 } };
    return (await by.create(sent, headers)).body.taskId;
  };
  const having = (scopes: string, headers: Record<string, string> = {}) => ({
    'X-Principal-Scopes': scopes,
    ...headers,
  });
  const cancel = (by: Client, taskId: string, headers: Record<string, string> = {}) =>
    by.request('POST', `/api/v1/tasks/${taskId}/cancel`, { headers });
  const act = (by: Client, taskId: string, headers: Record<string, string> = {}) => {
    const action = { clientActionId: 'a', suspendId: 'never', actionType: 'a' };
    return by.post(`/api/v1/tasks/${taskId}/actions`, action, headers);
  };

  describe('the scope tasks:operate', () => {
    const proof = { 'X-Auth-Proxy-Secret': PROOF };

    it('controls tasks of others, in every tenant, and reads, creates and lists none', async () => {
      const owner = newPrincipal(proving.url);
      const operator = newPrincipal(proving.url);
      const taskId = await waiting(owner, { ...proof, 'X-Tenant-Id': 'elsewhere' });
      const headers = having('tasks:operate', proof);
      expectError(await act(operator, taskId, headers), 404, 'NOT_FOUND');
      expectError(await operator.snapshot(taskId, headers), 403, 'ACCESS_DENIED');
      expectError(await operator.create(body(), headers), 403, 'ACCESS_DENIED');
      expectError(await operator.snapshot(taskId, having('tasks:operate tasks:read', proof)), 404, 'TASK_NOT_FOUND');
      expect((await cancel(operator, taskId, headers)).status).toBe(202);
    });

    it('does not control the own tasks, which takes tasks:write', async () => {
      const owner = newPrincipal(proving.url);
      const taskId = await waiting(owner, proof);
      const headers = having('tasks:operate tasks:admin', proof);
      expectError(await cancel(owner, taskId, headers), 403, 'ACCESS_DENIED');
      expectError(await act(owner, taskId, headers), 403, 'ACCESS_DENIED');
      expect((await cancel(owner, taskId, having('tasks:write', proof))).status).toBe(202);
    });

    it.each(['tasks:write', 'tasks:write tasks:admin', 'tasks:write tasks:prioritise'])(
      'is not in %s',
      async (scopes) => {
        const taskId = await waiting(newPrincipal(proving.url), proof);
        const other = newPrincipal(proving.url);
        expectError(await cancel(other, taskId, having(scopes, proof)), 404, 'TASK_NOT_FOUND');
        expectError(await act(other, taskId, having(scopes, proof)), 404, 'TASK_NOT_FOUND');
      },
    );
  });

  it('the scopes of operators do not count without the proof of the proxy, and others do', async () => {
    const owner = newPrincipal(trusting.url);
    const operator = newPrincipal(trusting.url);
    const taskId = await waiting(owner);
    expectError(await operator.snapshot(taskId, having('tasks:admin')), 403, 'ACCESS_DENIED');
    expectError(await operator.snapshot(taskId, having('tasks:admin tasks:read')), 404, 'TASK_NOT_FOUND');
    expectError(await cancel(operator, taskId, having('tasks:operate')), 403, 'ACCESS_DENIED');
    expectError(await cancel(operator, taskId, having('tasks:operate tasks:write')), 404, 'TASK_NOT_FOUND');
    expect((await cancel(owner, taskId, having('tasks:write'))).status).toBe(202);
  });

  describe('a caller on this machine that names no principal, where none is required', () => {
    it('has every scope, and one that names itself has those that it names', async () => {
      const nobody = new Client(local.url);
      const taskId = await waiting(newPrincipal(local.url));
      expect((await nobody.snapshot(taskId)).status).toBe(200);
      const named = newPrincipal(local.url);
      expectError(await named.snapshot(taskId), 404, 'TASK_NOT_FOUND');
      expect((await named.snapshot(taskId, having('tasks:admin'))).status).toBe(200);
      expect((await cancel(nobody, taskId)).status).toBe(202);
    });

    it.each<[string, Record<string, string>]>([
      ['went through a proxy', { 'X-Forwarded-For': '192.0.2.1' }],
      ['went through a proxy that says so by another header', { Forwarded: 'for=192.0.2.1' }],
      ['went through an nginx of a common recipe', { 'X-Real-IP': '192.0.2.1' }],
      ['went through a proxy that names the host', { 'X-Forwarded-Host': 'tasks.example' }],
      ['came to another name, as the page of another site can make it', { Host: 'evil.example' }],
    ])('has the scopes of everybody when the request %s', async (_what, headers) => {
      const taskId = await waiting(newPrincipal(local.url));
      const { port } = new URL(local.url);
      const sent = { Host: `localhost:${port}`, Connection: 'close', ...headers };
      const head = (name: Record<string, string>) => [
        `GET /api/v1/tasks/${taskId} HTTP/1.1`,
        ...Object.entries(name).map(([key, value]) => `${key}: ${value}`),
      ];
      const bytes = (lines: readonly string[]) => `${lines.join('\r\n')}\r\n\r\n`;
      expectError(await rawBytes(local.url, bytes(head(sent))), 404, 'TASK_NOT_FOUND');
      const plain = { Host: `localhost:${port}`, Connection: 'close' };
      expect((await rawBytes(local.url, bytes(head(plain)))).status).toBe(200);
    });

    it('has the scopes of everybody over HTTP/1.0, which an nginx speaks that nobody told more than where to pass it', async () => {
      const taskId = await waiting(newPrincipal(local.url));
      const { host } = new URL(local.url);
      const asked = (version: string) =>
        rawBytes(
          local.url,
          `GET /api/v1/tasks/${taskId} HTTP/${version}\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
        );
      expectError(await asked('1.0'), 404, 'TASK_NOT_FOUND');
      expect((await asked('1.1')).status).toBe(200);
    });
  });
});
