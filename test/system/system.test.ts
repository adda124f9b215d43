import { execFile } from 'node:child_process';
import { get, type IncomingMessage } from 'node:http';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { SETTINGS } from '../../src/boot/settings.js';
import { expectError, uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { message, WORKER_TOKEN, WorkerClient } from '../support/worker-client.js';

const SECRET = 'secret-of-the-proxy-0123456789';
const KEY = 'canary-0123456789abcdef0123456789abcdef';
const TOKENS = [WORKER_TOKEN, 'canary-of-a-second-worker-0123456789'];
type Headers = Readonly<Record<string, string>>;
const proven = (subject: string, scopes?: string): Headers => ({
  'X-Principal-Id': subject,
  'X-Auth-Proxy-Secret': SECRET,
  ...(scopes !== undefined && { 'X-Principal-Scopes': scopes }),
});
const ADMIN = proven('admin', 'tasks:admin');
const OPERATOR = proven('operator', 'tasks:operate');
const OWNER = proven('owner');

let database: TestDatabase;
let superuser: pg.Client;
let services: readonly [Service, Service];
let worker: WorkerClient;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  const folder = await temporaryDirectory();
  const file = join(folder, 'tokens');
  await writeFile(file, TOKENS.join(','));
  const env = {
    DATABASE_URL: database.appUrl,
    DATA_DIR: folder,
    AUTH_PROXY_SECRET: SECRET,
    REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
    FOLLOW_TOKEN_KEYS: KEY,
    EXECUTOR: 'inline,worker',
    WORKER_TOKENS_FILE: file,
    LEASE_SECONDS: '21',
  };
  services = await Promise.all([startService(env, { lifetime: 'file' }), startService(env, { lifetime: 'file' })]);
  worker = new WorkerClient(services[0].url);
}, 60_000);

afterAll(async () => {
  await Promise.all(services.map((service) => service.stop()));
  await superuser.end();
  await database.drop();
});

async function ask<Body>(
  path: string,
  {
    headers = ADMIN,
    method = 'GET',
    body,
    of = 0,
  }: { headers?: Headers; method?: string; body?: object; of?: 0 | 1 } = {},
): Promise<{ status: number; headers: globalThis.Headers; text: string; body: Body }> {
  const answer = await fetch(`${services[of].url}/api/v1/${path}`, {
    method,
    headers: { ...headers, ...(body && { 'Content-Type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, body: (text && JSON.parse(text)) as Body };
}

async function created(taskType: string): Promise<string> {
  const body = { clientRequestId: uniqueId(), taskType };
  const answer = await ask<{ taskId: string }>('tasks', { headers: OWNER, method: 'POST', body });
  expect(answer.status).toBe(201);
  return answer.body.taskId;
}

interface Stream {
  readonly streamId: string;
  readonly replicaId: string;
  readonly transport: string;
  readonly taskId?: string;
}
interface Streams {
  readonly answeredBy: string;
  readonly items: readonly Stream[];
  readonly replicas: readonly { readonly replicaId: string; readonly open: number }[];
}

/** A stream of Server-Sent Events. `ended` resolves with its end. */
async function followed(path: string, of: 0 | 1): Promise<{ ended: Promise<void>; leave: () => void }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${services[of].url}/api/v1/${path}`, { headers: OWNER, agent: false }, resolve).on('error', reject);
  });
  expect(response.statusCode).toBe(200);
  response.resume();
  const ended = new Promise<void>((resolve) => response.once('close', resolve));
  return { ended, leave: () => response.destroy() };
}

describe('Streams', () => {
  it('of all replicas are shown by each, and end on the one that has them', async () => {
    const type = uniqueId('followed');
    const taskId = await created(type);
    const lease = await worker.lease(type);
    await worker.events(lease, 1, [message('one')]);
    const streams = [
      await followed(`tasks/${taskId}/events/stream`, 0),
      await followed('tasks/changes/stream', 1),
    ] as const;

    let shown: Streams | undefined;
    await eventually('each is known to the first replica', async () => {
      shown = (await ask<Streams>('system/streams')).body;
      return shown.items.length === 2;
    });
    const { answeredBy = '', items = [], replicas } = shown ?? {};
    const own = items.find((stream) => stream.replicaId === answeredBy);
    const other = items.find((stream) => stream.replicaId !== answeredBy);
    expect(own).toMatchObject({
      transport: 'sse',
      principalId: 'owner',
      taskId,
      cursor: '2',
      lag: 0,
      bufferedBytes: 0,
    });
    expect(other).toMatchObject({ transport: 'sse', principalId: 'owner', changesOf: { ownerId: 'owner' } });
    expect(replicas?.map(({ open }) => open)).toEqual([1, 1]);

    const end = (streamId = '') => ask(`system/streams/${streamId}`, { headers: OPERATOR, method: 'DELETE' });
    expect(await end(own?.streamId)).toMatchObject({ status: 202, body: { streamId: own?.streamId, status: 'ENDED' } });
    await streams[0].ended;
    expect(await end(other?.streamId)).toMatchObject({ status: 202, body: { status: 'ENDING' } });
    await streams[1].ended;
    const { rows } = await superuser.query<{ subject: string }>(
      `SELECT subject FROM taskbridge.entries_audit WHERE action = 'end_stream' AND principal_id = 'operator' ORDER BY created_at`,
    );
    expect(rows.map(({ subject }) => subject)).toEqual([own?.streamId, other?.streamId]);
    for (const streamId of [own?.streamId, 'no-uuid', 'x%00y'])
      expect(await end(streamId)).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
  }, 40_000);

  it('of a connection that carries many are shown one by one, and go when it leaves', async () => {
    const stream = await followed('tasks/changes/stream', 0);
    const open = async () => (await ask<Streams>('system/streams')).body.items.filter((one) => one.transport === 'sse');
    await eventually('it is shown', async () => (await open()).length === 1);
    stream.leave();
    await eventually('it is gone', async () => (await open()).length === 0);
  });
});

describe('Replicas', () => {
  it('are shown with what they are, and not with where they are', async () => {
    interface Replica {
      readonly replicaId: string;
      readonly isLive: boolean;
      readonly isReady?: boolean;
      readonly taskTypes?: readonly string[];
    }
    let items: readonly Replica[] = [];
    await eventually('both are ready', async () => {
      ({ items } = (await ask<{ items: readonly Replica[] }>('system/replicas')).body);
      return items.filter(({ isLive, isReady }) => isLive && isReady).length === 2;
    });
    expect(items).toHaveLength(2);
    expect(items[0]).toMatchObject({ taskTypes: expect.arrayContaining(['demo.greet']), streams: expect.any(Number) });
    const { text } = await ask('system/replicas');
    for (const { url } of services) expect(text).not.toContain(new URL(url).port);
    expect(text).not.toMatch(/127\.0\.0\.1|localhost/);
  });
});

describe('Workers', () => {
  it('are shown as they registered, in pages, with what they hold', async () => {
    const type = uniqueId('worked');
    await created(type);
    for (const workerId of ['one', 'two'])
      await new WorkerClient(services[0].url, workerId).claim({
        taskTypes: [type],
        version: '1.2.3',
        features: ['steps'],
      });
    interface Page {
      readonly items: readonly { readonly workerId: string; readonly leases: number }[];
      readonly nextCursor: string | null;
    }
    const ours = async () => {
      const found: Page['items'][number][] = [];
      let cursor: string | null = '';
      for (; cursor !== null; ) {
        const { body }: { body: Page } = await ask<Page>(`system/workers?limit=1${cursor && `&cursor=${cursor}`}`);
        found.push(...body.items);
        cursor = body.nextCursor;
      }
      return found.filter((one) => JSON.stringify(one).includes(type));
    };
    await eventually('both are registered', async () => (await ours()).length === 2);
    expect(await ours()).toMatchObject([
      { workerId: 'one', version: '1.2.3', taskTypes: [type], features: ['steps'], isLive: true, leases: 1 },
      { workerId: 'two', isLive: true, leases: 0 },
    ]);
    for (const cursor of ['%00', 'AA', '!'])
      expectError(await ask(`system/workers?cursor=${cursor}`), 400, 'INVALID_CURSOR');
  });
});

describe('Settings', () => {
  it('are all there, with their origin, and no secret is, not even a part of one', async () => {
    const { text, body } = await ask<{
      items: readonly { name: string; origin: string; value?: string; isHidden: boolean }[];
    }>('system/settings');
    expect(body.items.map(({ name }) => name)).toEqual(Object.keys(SETTINGS));
    const of = (name: string) => body.items.find((item) => item.name === name);
    expect(of('LEASE_SECONDS')).toMatchObject({ origin: 'environment', value: '21', isSet: true });
    expect(of('HEARTBEAT_SECONDS')).toMatchObject({ origin: 'default', value: '15', isSet: true });
    expect(of('HOST_MODULE')).toMatchObject({ origin: 'default', isSet: false });
    expect(of('WORKER_TOKENS')).toMatchObject({ origin: 'file', isSet: true, isHidden: true });
    for (const secret of [SECRET, KEY, ...TOKENS, ...passwordsIn(database.appUrl)])
      for (let at = 0; at + 8 <= secret.length; at += 4) expect(text).not.toContain(secret.slice(at, at + 8));
    // Whatever sounds like one has to be hidden, also a setting of tomorrow.
    const secretive = body.items.filter(({ name }) => /SECRET|TOKENS$|KEYS$|PASSWORD|_URL$|ENDPOINT/.test(name));
    expect(secretive.length).toBeGreaterThan(6);
    for (const setting of secretive) expect(setting).toMatchObject({ isHidden: true });
    for (const setting of body.items) if (setting.isHidden) expect(setting).not.toHaveProperty('value');
  });
});

const passwordsIn = (url: string) => [/:\/\/[^:/]+:([^@]{8,})@/.exec(url)?.[1] ?? 'postgres://'];

describe('Readiness', () => {
  it('is that of the replica, with its parts', async () => {
    expect((await ask('system/readiness')).body).toMatchObject({
      status: 'ready',
      details: { postgres: { status: 'ready' } },
    });
  });
});

describe('Retention', () => {
  it('is shown with its last run, what it removed, and what is due', async () => {
    const insert = (days: number) =>
      superuser.query(
        `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, status, correlation_id,
          finished_at) VALUES (gen_random_uuid(), '', 'o', gen_random_uuid(), '', 't', 'COMPLETED', gen_random_uuid(),
          clock_timestamp() - make_interval(days => $1))`,
        [days],
      );
    await insert(40);
    await insert(8);
    const before = await ask<{ overdue: { oldestFinishedAt: string } }>('system/retention');
    expect(before.body).toMatchObject({ days: 30, overdue: { tasks: 1, atLeast: false } });
    expect(Date.parse(before.body.overdue.oldestFinishedAt)).toBeLessThan(Date.now() - 39 * 86_400_000);
    expect(before.body).not.toHaveProperty('lastRun');

    const url = database.appUrl.replace('taskbridge_app', 'taskbridge_retention');
    const env = { ...process.env, RETENTION_DATABASE_URL: url, RETENTION_DAYS: '10' };
    await promisify(execFile)(process.execPath, ['dist/retention.js'], { env });
    expect((await ask('system/retention')).body).toMatchObject({
      ...{ days: 10, overdue: { tasks: 0 } },
      lastRun: { removedTasks: 1, removedAuditEntries: 0 },
    });
  });
});

describe('Numbers', () => {
  it('of the replica come every 10 s: tasks by state, streams, and how long appends and deliveries took', async () => {
    const type = uniqueId('counted');
    const taskId = await created(type);
    const lease = await worker.lease(type);
    const stream = await followed(`tasks/${taskId}/events/stream`, 0);
    await worker.events(lease, 1, [message('live')]);
    interface Point {
      readonly tasks?: { readonly running: number };
      readonly streams: number;
      readonly append?: { readonly count: number; readonly p50Ms: number; readonly p99Ms: number };
      readonly delivery?: object;
    }
    let found: Point | undefined;
    await eventually('a point has it', async () => {
      const { body } = await ask<{ everySeconds: number; points: readonly Point[] }>('system/numbers');
      expect(body.everySeconds).toBe(10);
      found = body.points.find((point) => point.delivery !== undefined);
      return found !== undefined;
    });
    stream.leave();
    expect(found?.tasks?.running).toBeGreaterThan(0);
    expect(found?.streams).toBe(1);
    expect(found?.append?.count).toBeGreaterThan(0);
    expect(found?.append?.p99Ms).toBeGreaterThanOrEqual(found?.append?.p50Ms ?? Infinity);
  }, 40_000);
});

describe('The log', () => {
  interface Log {
    readonly replicaId: string;
    readonly lines: readonly { readonly event: string; readonly correlationId: string; readonly fields: object }[];
    readonly next: string;
  }

  it('shows each end of a use-case once, as the log has it, without content', async () => {
    const { next } = (await ask<Log>('system/log')).body;
    const secretly = uniqueId('content');
    const body = { clientRequestId: uniqueId(), taskType: uniqueId('logged'), input: { secretly } };
    const made = await ask('tasks', { headers: OWNER, method: 'POST', body });
    await ask('tasks/01890000-0000-7000-8000-000000000000', { headers: OWNER });
    const after = await ask<Log>(`system/log?after=${next}`);
    const lines = after.body.lines.filter(({ fields }) => JSON.stringify(fields).includes('"owner"'));
    expect(lines).toMatchObject([
      {
        event: 'create_task.success',
        correlationId: made.headers.get('x-correlation-id'),
        fields: { clientRequestId: body.clientRequestId, outcome: 'created' },
      },
      { event: 'read_task.denied', level: 'info', fields: { code: 'TASK_NOT_FOUND' } },
    ]);
    expect(after.text).not.toContain(secretly);
    const nothing = await ask<Log>(`system/log?after=${after.body.next}`);
    expect(nothing.body).toMatchObject({ lines: [], next: after.body.next });
  });

  it('begins with the newest lines behind the cursor of another replica, and refuses nonsense', async () => {
    for (let n = 0; n < 3; n += 1) await ask('tasks', { headers: OWNER });
    const other = (await ask<Log>('system/log', { of: 1 })).body.next;
    expect((await ask<Log>(`system/log?after=${other}&limit=2`)).body.lines).toHaveLength(2);
    expectError(await ask('system/log?after=nonsense'), 400, 'INVALID_REQUEST');
  });
});
