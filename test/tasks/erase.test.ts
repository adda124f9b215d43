import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { type Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants } from '../support/fold.js';
import { followLongPoll, followSse, followWebSocket } from '../support/follow.js';
import { field, file, formOf } from '../support/form.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

const SECRET = 'secret-of-the-proxy-0123456789';
const OWNER = { 'X-Principal-Id': 'owner', 'X-Tenant-Id': 'acme', 'X-Auth-Proxy-Secret': SECRET };
const as = (more: Record<string, string>) => ({ ...OWNER, ...more });
const OPERATOR = as({
  'X-Principal-Id': 'operator',
  'X-Tenant-Id': '',
  'X-Principal-Scopes': 'tasks:operate tasks:admin',
});

let database: TestDatabase;
let superuser: pg.Client;
let service: Service;
let client: Client;
let worker: WorkerClient;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  const env = { DATABASE_URL: database.appUrl, DATA_DIR: await temporaryDirectory(), AUTH_PROXY_SECRET: SECRET };
  service = await startService({ ...env, ...WITH_WORKERS }, { lifetime: 'file' });
  client = newPrincipal(service.url);
  worker = new WorkerClient(service.url);
});

afterAll(async () => {
  await checkInvariants(database.superuserUrl);
  await service.stop();
  await superuser.end();
  await database.drop();
});

const { 'X-Tenant-Id': _, ...WITHOUT_TENANT } = OPERATOR;
const operator: Record<string, string> = WITHOUT_TENANT;

async function created(taskType = uniqueId('erase'), headers: Record<string, string> = OWNER): Promise<string> {
  const form = formOf([
    field('clientRequestId', uniqueId()),
    field('taskType', taskType),
    field('metadata', '{"tag":"x"}'),
    file('a.txt', 'bytes'),
  ]);
  const answer = await client.request<{ taskId: string }>('POST', '/api/v1/tasks', {
    headers: { ...form.headers, ...headers },
    body: form.body,
  });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.body.taskId;
}

async function over(): Promise<string> {
  const taskType = uniqueId('erase');
  const taskId = await created(taskType);
  await worker.complete(await worker.lease(taskType));
  return taskId;
}

const erase = (taskId: string, headers: Record<string, string>) =>
  client.request('DELETE', `/api/v1/tasks/${taskId}`, { headers });
const eraseOwner = (path: string, headers: Record<string, string>) =>
  client.request<{ erased: number; hasMore: boolean }>('DELETE', `/api/v1/owners/${path}`, { headers });

/** The number of rows that name the task, by table. */
async function traces(taskId: string): Promise<Readonly<Record<string, number>>> {
  const { rows } = await superuser.query<{ name: string }>(
    `SELECT c.relname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
      WHERE c.relnamespace = 'taskbridge'::regnamespace AND c.relkind = 'r' AND a.attname = 'task_id'`,
  );
  const found: Record<string, number> = {};
  for (const { name } of rows) {
    const { rowCount } = await superuser.query(`SELECT FROM taskbridge.${name} WHERE task_id = $1`, [taskId]);
    if (rowCount) found[name] = rowCount;
  }
  return found;
}

describe('A task that is erased', () => {
  it('is gone with all that belongs to it, but for the mark and the audit', async () => {
    const taskId = await over();
    expect(Object.keys(await traces(taskId)).length).toBeGreaterThan(3);
    expect((await erase(taskId, OWNER)).status).toBe(204);
    expect(await traces(taskId)).toEqual({ entries_audit: 1, proj_removed_tasks: 1 });
    expectError(await client.request('GET', `/api/v1/tasks/${taskId}`, { headers: OWNER }), 404, 'TASK_NOT_FOUND');
    expectError(await erase(taskId, OWNER), 404, 'TASK_NOT_FOUND');
    const { rows } = await superuser.query(
      'SELECT principal_id, tenant_id, action, owner_id, details FROM taskbridge.entries_audit WHERE task_id = $1',
      [taskId],
    );
    expect(rows).toMatchObject([
      {
        principal_id: 'owner',
        tenant_id: 'acme',
        action: 'erase_task',
        owner_id: 'owner',
        details: { tenantId: 'acme' },
      },
    ]);
    await eventually(
      'the bytes are gone',
      async () => {
        const left = await superuser.query('SELECT FROM taskbridge.proj_uploads');
        return left.rowCount === 0;
      },
      40_000,
    );
  }, 60_000);

  it('is removed from the feed of its owner', async () => {
    const taskId = await over();
    const now = await client.request<{ next: string }>('GET', '/api/v1/tasks/changes?waitTimeoutMs=0', {
      headers: OWNER,
    });
    await erase(taskId, OWNER);
    const page = await client.request<{ changes: object[] }>(
      'GET',
      `/api/v1/tasks/changes?after=${encodeURIComponent(now.body.next)}&waitTimeoutMs=10000`,
      { headers: OWNER },
    );
    expect(page.body.changes).toContainEqual(expect.objectContaining({ taskId, removed: true }));
  });

  it('has to be over for its owner, and not for an operator', async () => {
    const taskId = await created();
    expectError(await erase(taskId, OWNER), 409, 'TASK_NOT_TERMINAL');
    expectError(await erase(taskId, as({ 'X-Principal-Id': 'other' })), 404, 'TASK_NOT_FOUND');
    expectError(await erase(taskId, as({ 'X-Principal-Scopes': 'tasks:read' })), 403, 'ACCESS_DENIED');
    expect((await erase(taskId, operator)).status).toBe(204);
    expect(await traces(taskId)).toEqual({ entries_audit: 1, proj_removed_tasks: 1 });
  });

  it('while it runs ends its streams, and fences its worker', async () => {
    const taskType = uniqueId('erase');
    const taskId = await created(taskType);
    const lease = await worker.lease(taskType);
    const readers = [followSse, followWebSocket, followLongPoll].map((follow) =>
      follow(service.url, taskId, null, OWNER),
    );
    for (const reader of readers) await eventually('it follows', async () => reader.events.length > 0);
    expect((await erase(taskId, operator)).status).toBe(204);
    for (const reader of readers) {
      await reader.end(10_000);
      expect(JSON.parse(reader.events.at(-1)?.raw ?? '{}')).toMatchObject({
        type: 'TASK_CANCELLED',
        payload: { reason: 'erased', message: 'CANCEL_FORCED' },
      });
    }
    expectError(await worker.complete(lease), 409, 'LEASE_LOST');
    expect(await traces(taskId)).toEqual({ entries_audit: 1, proj_removed_tasks: 1 });
  });
});

describe('The tasks of an owner that are erased', () => {
  it('are those that are over for the owner, and all for an operator', async () => {
    const mine = as({ 'X-Principal-Id': uniqueId('owner') });
    const id = mine['X-Principal-Id'];
    const types = Array.from({ length: 25 }, () => uniqueId('erase'));
    for (const [n, taskType] of types.entries()) {
      await created(taskType, mine);
      if (n % 5 !== 0) await worker.complete(await worker.lease(taskType));
    }
    const other = await created();
    expectError(await eraseOwner(`${id}/tasks`, OWNER), 403, 'ACCESS_DENIED');
    expect((await eraseOwner(`${id}/tasks`, mine)).body).toEqual({ erased: 20, hasMore: false });
    expect((await eraseOwner(`${id}/tasks`, mine)).body).toEqual({ erased: 0, hasMore: false });
    // An operator of another tenant names the owner's.
    expect((await eraseOwner(`${id}/tasks`, operator)).body).toEqual({ erased: 0, hasMore: false });
    expect((await eraseOwner(`${id}/tasks?tenant=acme`, operator)).body).toEqual({ erased: 5, hasMore: false });
    const left = await superuser.query('SELECT FROM taskbridge.proj_tasks WHERE owner_id = $1', [id]);
    expect(left.rowCount).toBe(0);
    const audit = await superuser.query(
      "SELECT FROM taskbridge.entries_audit WHERE owner_id = $1 AND action = 'erase_owner_tasks'",
      [id],
    );
    expect(audit.rowCount).toBe(25);
    expect((await client.request('GET', `/api/v1/tasks/${other}`, { headers: OWNER })).status).toBe(200);
  }, 60_000);
});

describe('The app role', () => {
  it('erases by the function alone, and no task that is not over', async () => {
    const taskId = await created();
    const app = new pg.Client({ connectionString: database.appUrl });
    await app.connect();
    await expect(app.query('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [taskId])).rejects.toThrow();
    const { rowCount } = await app.query(
      "SELECT taskbridge.erase_tasks(ARRAY[$1::uuid], 'p', '', 'erase_task', gen_random_uuid())",
      [taskId],
    );
    expect(rowCount).toBe(0);
    await app.end();
  });
});
