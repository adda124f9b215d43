import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, type Created, expectError, newPrincipal, uniqueId } from '../support/client.js';
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
    service = await startService({ DATABASE_URL: database.appUrl, HOST_MODULE }, { lifetime: 'file' });
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
    expect(ended).toMatchObject({ kind: 'close', code: 4401, reason: 'AUTHENTICATION_ERROR' });
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
