import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { type Answer, expectError, uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { question, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

const SECRET = 'secret-of-the-proxy-0123456789';
const TENANT = uniqueId('tenant');
const OWNERS = [uniqueId('owner'), uniqueId('owner')] as const;
const [OWNER] = OWNERS;

type Headers = Readonly<Record<string, string>>;
const proven = (subject: string, tenant: string, scopes?: string): Headers => ({
  'X-Principal-Id': subject,
  'X-Auth-Proxy-Secret': SECRET,
  ...(tenant !== '' && { 'X-Tenant-Id': tenant }),
  ...(scopes !== undefined && { 'X-Principal-Scopes': scopes }),
});
const ADMIN = proven('admin', '', 'tasks:admin');
const OPERATOR = proven('operator', '', 'tasks:operate');

interface Item {
  readonly taskId: string;
  readonly taskType: string;
  readonly ownerId?: string;
  readonly tenantId?: string;
}
interface Page {
  readonly items: readonly Item[];
  readonly nextCursor: string | null;
}

let database: TestDatabase;
let superuser: pg.Client;
let services: readonly [Service, Service];
let worker: WorkerClient;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  const env = {
    DATABASE_URL: database.appUrl,
    DATA_DIR: await temporaryDirectory(),
    AUTH_PROXY_SECRET: SECRET,
    REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
    HOST_MODULE: '',
    ...WITH_WORKERS,
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
  headers: Headers = ADMIN,
  { method = 'GET', body, of = services[0] }: { method?: string; body?: object; of?: Service } = {},
): Promise<Answer<Body>> {
  const response = await fetch(`${of.url}/api/v1/${path}`, {
    method,
    headers: { ...headers, ...(body && { 'Content-Type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: (text === '' ? undefined : JSON.parse(text)) as Body,
  };
}

async function created(taskType: string, more: object = {}, owner = OWNER, tenant = TENANT): Promise<string> {
  const body = { clientRequestId: uniqueId(), taskType, ...more };
  const answer = await ask<{ taskId: string }>('tasks', proven(owner, tenant), { method: 'POST', body });
  expect(answer.status).toBe(201);
  return answer.body.taskId;
}

const idsOf = ({ body }: Answer<Page>) => body.items.map(({ taskId }) => taskId);
const auditOf = async (subject: string) => {
  const { rows } = await superuser.query<{ action: string; principal_id: string; owner_id: string | null }>(
    'SELECT action, principal_id, owner_id FROM taskbridge.entries_audit WHERE coalesce(subject, task_id::text) = $1 ORDER BY created_at',
    [subject],
  );
  return rows;
};

/** Asks for the next pages until there is none. */
async function all(path: string): Promise<readonly Item[]> {
  const items: Item[] = [];
  let cursor: string | null = null;
  do {
    const more: string = cursor === null ? '' : `&cursor=${cursor}`;
    const page: Answer<Page> = await ask<Page>(path + more);
    expect(page.status).toBe(200);
    items.push(...page.body.items);
    cursor = page.body.nextCursor;
  } while (cursor !== null);
  return items;
}

describe('A list over owners', () => {
  const type = uniqueId('listed');
  const made: string[] = [];

  beforeAll(async () => {
    for (const owner of OWNERS) made.push(await created(type, { metadata: { who: owner, kind: 'x' } }, owner));
    made.push(await created(`${type}.more`, { clientRequestId: 'the-one' }, OWNER, 'elsewhere'));
  });

  it('shows those of an owner, of a tenant, and all, with whose they are', async () => {
    const [first = '', second = '', third = ''] = made;
    const mine = await ask<Page>(`tasks?owner=${OWNER}&tenant=${TENANT}&taskType=${type}`);
    expect(idsOf(mine)).toEqual([first]);
    expect(mine.body.items[0]).toMatchObject({ ownerId: OWNER, tenantId: TENANT });
    expect(idsOf(await ask(`tasks?tenant=${TENANT}&taskType=${type}`))).toEqual([second, first]);
    expect(idsOf(await ask(`tasks?all=true&taskTypePrefix=${type}`))).toEqual([third, second, first]);
    expect(idsOf(await ask(`tasks?tenant=&taskTypePrefix=${type}`))).toEqual([]);
  });

  it('is a list of the caller’s own tasks without such a word, and does not say whose they are', async () => {
    expect(idsOf(await ask(`tasks?taskTypePrefix=${type}`))).toEqual([]);
    const own = await ask<Page>(`tasks?taskTypePrefix=${type}`, proven(OWNER, TENANT));
    expect(idsOf(own)).toEqual([made[0]]);
    expect(own.body.items[0]).not.toHaveProperty('ownerId');
  });

  it.each([
    ['all=true', proven(OWNER, TENANT)],
    [`owner=${OWNERS[1]}`, proven(OWNER, TENANT)],
    // Also its own id: the words are those of operators.
    [`owner=${OWNER}`, proven(OWNER, TENANT)],
    [`tenant=${TENANT}`, proven(OWNER, TENANT)],
    ['all=true', OPERATOR],
  ])('is refused with %s to a caller without tasks:admin, on every route', async (query, headers) => {
    for (const route of ['tasks', 'tasks/counts', 'tasks/stuck', 'questions', 'schedules'])
      expectError(await ask(`${route}?${query}`, headers), 403, 'ACCESS_DENIED');
  });

  it('refuses all beside an owner, and other nonsense', async () => {
    for (const query of [`all=true&owner=${OWNER}`, 'all=true&tenant=x'])
      expectError(await ask(`tasks?${query}`), 400, 'INVALID_REQUEST');
    for (const query of [
      ...['all=yes', 'owner=', 'owner=%00', 'tags=7', 'tags=%7B%22a%22%3A1%7D', 'failureCode=', 'failureCode=%00'],
      ...['taskTypePrefix=%20', 'limit=0', 'unknown=1'],
    ])
      expect((await ask(`tasks?${query}`)).status).toBe(400);
    expectError(await ask('tasks?all=true&cursor=nonsense'), 400, 'INVALID_CURSOR');
  });

  it('finds tasks by tags, by a request, and by the beginning of a type', async () => {
    const tags = (some: object) => `tags=${encodeURIComponent(JSON.stringify(some))}`;
    expect(idsOf(await ask(`tasks?all=true&${tags({ who: OWNERS[1] })}`))).toEqual([made[1]]);
    expect(idsOf(await ask(`tasks?all=true&${tags({ who: OWNERS[1], kind: 'y' })}`))).toEqual([]);
    expectError(await ask(`tasks?all=true&${tags({ who: '\0' })}`), 400, 'INVALID_REQUEST');
    expect(idsOf(await ask('tasks?all=true&clientRequestId=the-one'))).toEqual([made[2]]);
    expect(idsOf(await ask(`tasks?owner=${OWNER}&tenant=elsewhere&clientRequestId=the-one`))).toEqual([made[2]]);
    expect(idsOf(await ask(`tasks?tenant=${TENANT}&clientRequestId=the-one`))).toEqual([]);
    // A prefix is no pattern.
    expect(idsOf(await ask(`tasks?all=true&taskTypePrefix=${type}.`))).toEqual([made[2]]);
  });

  it('finds failed tasks by their code, whatever their payload has', async () => {
    const failing = uniqueId('failing');
    const codes = ['NO_SUCH_FILE', 'NO_SUCH', 'with "quotes" and \u{1f4a5}'];
    for (const code of codes) {
      await created(failing);
      await worker.fail(await worker.lease(failing), { code, message: '{"code":"OTHER",', retryable: false });
    }
    for (const code of codes) {
      const { body } = await ask<Page>(`tasks?all=true&taskType=${failing}&failureCode=${encodeURIComponent(code)}`);
      expect(body.items).toMatchObject([{ failure: { code } }]);
    }
  });

  it('pages each scope without a gap or a repeat, in the order of creation', async () => {
    const paged = uniqueId('paged');
    const ids: string[] = [];
    for (let n = 0; n < 7; n += 1) ids.unshift(await created(paged, {}, OWNERS[n % 2]));
    for (const scope of ['all=true', `tenant=${TENANT}`]) {
      const items = await all(`tasks?${scope}&taskType=${paged}&limit=2`);
      expect(items.map(({ taskId }) => taskId)).toEqual(ids);
    }
  });

  it('and a snapshot say whose a task is to tasks:admin alone', async () => {
    const [taskId = ''] = made;
    expect((await ask<Item>(`tasks/${taskId}`)).body).toMatchObject({ ownerId: OWNER, tenantId: TENANT });
    expect((await ask<Item>(`tasks/${taskId}`, proven(OWNER, TENANT))).body).not.toHaveProperty('ownerId');
    const changes = ask<{ changes: { task: Item }[] }>('tasks/changes?all=true&waitTimeoutMs=20000');
    await delay(500);
    await created(type, {}, OWNER);
    expect((await changes).body.changes[0]?.task).toMatchObject({ ownerId: OWNER, tenantId: TENANT });
  });
});

describe('A list that looks at many tasks for few', () => {
  it('ends a page before it is full, and goes on behind it', async () => {
    const tenant = uniqueId('large');
    // Two walks of MAX_SCANNED_TASKS, and a bit.
    await superuser.query(
      `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, status, correlation_id,
        created_at, finished_at)
      SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $1, 'o', n, '', CASE WHEN n = 1 THEN 'rare' ELSE 'usual' END,
        'COMPLETED', gen_random_uuid(), '2024-06-10'::timestamptz + n * interval '1 ms', clock_timestamp() FROM generate_series(1, 20100) AS n`,
      [tenant],
    );
    await superuser.query('ANALYZE taskbridge.proj_tasks');
    for (const scope of [`tenant=${tenant}`, `tenant=${tenant}&owner=o`]) {
      const first = await ask<Page>(`tasks?${scope}&taskType=rare`);
      expect(first.body).toMatchObject({ items: [], nextCursor: expect.any(String) });
      expect(await all(`tasks?${scope}&taskType=rare`)).toMatchObject([{ taskType: 'rare' }]);
    }
    const before = '2024-06-10T00:00:00.010Z';
    expect(await all(`tasks?tenant=${tenant}&createdBefore=${before}&limit=100`)).toHaveLength(9);
    expect(await all(`tasks?all=true&createdBefore=${before}&limit=100`)).toHaveLength(9);
    expect(await all(`tasks?tenant=${tenant}&createdAfter=2024-06-10T00:00:20.090Z&limit=100`)).toHaveLength(10);
  });
});

interface Counts {
  readonly byStatus: Readonly<Record<string, number>>;
  readonly byType: readonly { readonly taskType: string; readonly byStatus: Readonly<Record<string, number>> }[];
  readonly atLeast: boolean;
}

describe('Counts', () => {
  it('are exact by status and type, for a caller, an owner, a tenant', async () => {
    const tenant = uniqueId('counted');
    const [one, other] = [uniqueId('one'), uniqueId('other')];
    for (const owner of ['a', 'b']) await created(one, {}, owner, tenant);
    const done = await worker.lease(one);
    await worker.complete(done);
    await created(other, {}, 'a', tenant);
    const counted = async (query: string, headers: Headers = ADMIN) =>
      (await ask<Counts>(`tasks/counts?${query}`, headers)).body;
    const whole: Counts = {
      byStatus: { ACCEPTED: 2, COMPLETED: 1 },
      byType: [
        { taskType: one, byStatus: { ACCEPTED: 1, COMPLETED: 1 } },
        { taskType: other, byStatus: { ACCEPTED: 1 } },
      ].sort((x, y) => (x.taskType < y.taskType ? -1 : 1)),
      atLeast: false,
    };
    await eventually('the end is counted', async () => (await counted(`tenant=${tenant}`)).byStatus['COMPLETED'] === 1);
    expect(await counted(`tenant=${tenant}`)).toEqual(whole);
    const own = await counted('', proven(done.ownerId, tenant));
    expect(own).toEqual(await counted(`tenant=${tenant}&owner=${done.ownerId}`));
    expect(own.byStatus['COMPLETED']).toBe(1);
    expect(await counted('', proven('nobody-else', tenant))).toEqual({ byStatus: {}, byType: [], atLeast: false });
    const inAll = (await counted('all=true')).byType.filter(({ taskType }) => [one, other].includes(taskType));
    expect(inAll).toEqual(whole.byType);
  });
});

interface Stuck {
  readonly items: readonly {
    readonly kind: string;
    readonly why: string;
    readonly since: string;
    readonly task: Item;
  }[];
  readonly hasMore: readonly string[];
}

describe('Stuck tasks', () => {
  it('are found in each of five ways, with a reason and a time, and no other', async () => {
    const tenant = uniqueId('stuck');
    const make = (type: string) => created(type, {}, OWNER, tenant);
    const types = Object.fromEntries(
      ['silent', 'retrying', 'alone', 'asking', 'aside', 'fine'].map((name) => [name, uniqueId(name)]),
    ) as Record<'silent' | 'retrying' | 'alone' | 'asking' | 'aside' | 'fine', string>;
    const silent = await make(types.silent);
    await worker.claim({ taskTypes: [types.silent], leaseSeconds: 20 });
    await superuser.query(
      `UPDATE taskbridge.proj_tasks SET lease_expires_at = clock_timestamp() + interval '5 s' WHERE task_id = $1`,
      [silent],
    );
    const retrying = await make(types.retrying);
    await worker.fail(await worker.lease(types.retrying), { retryable: true, retryAfterMs: 600_000 });
    const alone = await make(types.alone);
    const asking = await make(types.asking);
    await worker.suspend(await worker.lease(types.asking));
    await superuser.query(
      `UPDATE taskbridge.events SET created_at = created_at - interval '2 days' WHERE task_id = $1 AND type = 'TASK_SUSPENDED'`,
      [asking],
    );
    const aside = await make(types.aside);
    await superuser.query(
      `UPDATE taskbridge.proj_tasks SET aside_code = 'STATE_INVALID', claimable_at = NULL WHERE task_id = $1`,
      [aside],
    );
    await make(types.fine);
    await worker.lease(types.fine);

    const query = `tasks/stuck?tenant=${tenant}`;
    await eventually('all five are found', async () => (await ask<Stuck>(query)).body.items.length === 5);
    const { body } = await ask<Stuck>(query);
    expect(body.items.map(({ kind, task }) => [kind, task.taskId])).toEqual([
      ['silent_lease', silent],
      ['retrying', retrying],
      ['no_worker', alone],
      ['overdue_question', asking],
      ['aside', aside],
    ]);
    for (const { why, since, task } of body.items) {
      expect(why.length).toBeGreaterThan(10);
      expect(Date.parse(since)).toBeLessThan(Date.now() + 1_000);
      expect(task).toMatchObject({ ownerId: OWNER, tenantId: tenant });
    }
    expect(body.hasMore).toEqual([]);
    const one = await ask<Stuck>(`${query}&kind=aside`);
    expect(one.body.items.map(({ task }) => task.taskId)).toEqual([aside]);
    await make(types.alone);
    const few = await ask<Stuck>(`${query}&kind=no_worker&limit=1`);
    expect(few.body).toMatchObject({ items: [{ task: { taskId: alone } }], hasMore: ['no_worker'] });
    expect((await ask<Stuck>(`tasks/stuck?owner=${OWNERS[1]}&tenant=${tenant}`)).body.items).toEqual([]);
    expect((await ask('tasks/stuck?kind=other')).status).toBe(400);
  });
});

describe('Open questions', () => {
  it('come oldest first, in pages, and go when they are answered', async () => {
    const tenant = uniqueId('asked');
    const type = uniqueId('asking');
    const asked: { taskId: string; suspendId: string }[] = [];
    for (const owner of ['a', 'b', 'a']) {
      const taskId = await created(type, {}, owner, tenant);
      const { body } = await worker.suspend(await worker.lease(type));
      asked.push({ taskId, suspendId: body.suspendId });
    }
    const ids = asked.map(({ taskId }) => taskId);
    expect((await all(`questions?tenant=${tenant}&limit=1`)).map(({ taskId }) => taskId)).toEqual(ids);
    const everything = await all('questions?all=true&limit=100');
    expect(everything.filter(({ taskType }) => taskType === type).map(({ taskId }) => taskId)).toEqual(ids);
    expect((await all(`questions?tenant=${tenant}&limit=1`))[0]).toMatchObject({
      ...{ taskType: type, ownerId: 'a', tenantId: tenant },
      question: { suspendId: asked[0]?.suspendId, reasonCode: question().reasonCode },
      askedAt: expect.stringMatching(/^20/),
    });
    const own = await ask<Page>('questions', proven('a', tenant));
    expect(idsOf(own)).toEqual([ids[0], ids[2]]);
    const answer = { clientActionId: uniqueId(), suspendId: asked[0]?.suspendId, actionType: 'approve' };
    const done = await ask(`tasks/${ids[0]}/actions`, OPERATOR, { method: 'POST', body: answer });
    expect(done.status).toBe(202);
    expect((await all(`questions?tenant=${tenant}`)).map(({ taskId }) => taskId)).toEqual(ids.slice(1));
    expect(await auditOf(ids[0] ?? '')).toEqual([{ action: 'submit_action', principal_id: 'operator', owner_id: 'a' }]);
    expectError(await ask('questions?all=true&cursor=x'), 400, 'INVALID_CURSOR');
  });
});

describe('What operators do to tasks of others', () => {
  it('is in the audit, once, and what owners do is not', async () => {
    const type = uniqueId('audited');
    const taskId = await created(type);
    expect((await ask(`tasks/${taskId}/cancel`, OPERATOR, { method: 'POST' })).status).toBe(202);
    expect((await ask(`tasks/${taskId}/cancel`, OPERATOR, { method: 'POST' })).status).toBe(202);
    const again = { clientRequestId: uniqueId() };
    for (const status of [201, 200])
      expect((await ask(`tasks/${taskId}/retry`, OPERATOR, { method: 'POST', body: again })).status).toBe(status);
    expect(await auditOf(taskId)).toEqual([
      { action: 'cancel_task', principal_id: 'operator', owner_id: OWNER },
      { action: 'retry_task', principal_id: 'operator', owner_id: OWNER },
    ]);
    const own = await created(type);
    await ask(`tasks/${own}/cancel`, proven(OWNER, TENANT), { method: 'POST' });
    expect(await auditOf(own)).toEqual([]);
    const { body } = await ask<{ lines: readonly { event: string; fields: object }[] }>('system/log?limit=1000');
    const line = { event: 'cancel_task.success', fields: { taskId, principal_id: 'operator' } };
    expect(body.lines).toContainEqual(
      expect.objectContaining({ ...line, fields: expect.objectContaining(line.fields) }),
    );
  });
});

describe('Task types', () => {
  interface Entry {
    readonly taskType: string;
    readonly isHandledHere: boolean;
    readonly workers: number;
    readonly running: number;
    readonly waiting: number;
    readonly held: { readonly concurrency: number; readonly rate: number };
    readonly paused?: object;
    readonly policy: object;
  }

  it('are listed with what they run, keep waiting and hold back', async () => {
    const type = uniqueId('typed');
    const version = uniqueId('v');
    await worker.claim({ taskTypes: [type], version, policies: { [type]: { maxRunning: 1 } } });
    const entry = async () => {
      const items = (await all('task-types?limit=2')) as unknown as readonly Entry[];
      expect(items.map(({ taskType }) => taskType)).toEqual(items.map(({ taskType }) => taskType).toSorted());
      return items.find(({ taskType }) => taskType === type);
    };
    for (let n = 0; n < 3; n += 1) await created(type);
    await eventually('one of them is leased', async () => {
      const { body } = await worker.claim({ taskTypes: [type], version, policies: { [type]: { maxRunning: 1 } } });
      return body.leases.length === 1;
    });
    // As a claim that finds the key full does. A replica that does not know the policy yet lets them go again.
    await eventually('the others are held back', async () => {
      await superuser.query(
        `UPDATE taskbridge.proj_tasks SET claimable_at = NULL, hold_key = $2 WHERE task_type = $1 AND lease_token IS NULL`,
        [type, `concurrency:type:["${type}"]`],
      );
      return (await entry())?.held.concurrency === 2;
    });
    await eventually('its worker is known', async () => (await entry())?.workers === 1);
    expect(await entry()).toMatchObject({ policy: { maxRunning: 1 }, running: 1, isHandledHere: false });
    await ask(`task-types/${type}/pause`, OPERATOR, { method: 'PUT', body: { reason: 'an incident' } });
    expect(await entry()).toMatchObject({ paused: { by: 'operator', reason: 'an incident' } });
    const demo = ((await all('task-types?limit=200')) as unknown as readonly Entry[]).find(
      ({ taskType }) => taskType === 'demo.greet',
    );
    expect(demo).toMatchObject({ isHandledHere: true });
    expect(await auditOf(type)).toMatchObject([{ action: 'pause_task_type', principal_id: 'operator' }]);
  });
});

describe('Schedules', () => {
  it('of others are listed in pages, with their next ticks', async () => {
    const tenant = uniqueId('clock');
    const schedule = { cron: '30 2 * * *', timeZone: 'Europe/Berlin', taskType: 'demo.greet' };
    for (const owner of ['a', 'b'])
      for (const name of ['one', 'two'])
        await ask(`schedules/${name}`, proven(owner, tenant), { method: 'PUT', body: schedule });
    type Listed = Item & { readonly name: string; readonly ticks: readonly string[]; readonly nextAt: string };
    const listed = (await all(`schedules?tenant=${tenant}&limit=3`)) as unknown as readonly Listed[];
    expect(listed.map(({ ownerId, name }) => [ownerId, name])).toEqual([
      ['a', 'one'],
      ['a', 'two'],
      ['b', 'one'],
      ['b', 'two'],
    ]);
    const [{ ticks, nextAt } = { ticks: [], nextAt: '' }] = listed;
    expect(ticks).toHaveLength(5);
    expect(ticks[0]).toBe(nextAt);
    expect(ticks).toEqual([...ticks].sort());
    const own = await ask<{ items: readonly Listed[] }>('schedules', proven('a', tenant));
    expect(own.body.items.map(({ name }) => name)).toEqual(['one', 'two']);
    expect(own.body.items[0]).not.toHaveProperty('ownerId');
    for (const cursor of [
      'x',
      Buffer.from('["a"]').toString('base64url'),
      Buffer.from('["a","b","\\u0000"]').toString('base64url'),
    ])
      expectError(await ask(`schedules?all=true&cursor=${cursor}`), 400, 'INVALID_CURSOR');
  });
});

describe('Who one is', () => {
  it.each([
    [proven('joe', 'acme'), { subject: 'joe', tenantId: 'acme', may: { read: true, readAll: false, operate: false } }],
    [
      ADMIN,
      { subject: 'admin', scopes: ['tasks:admin'], may: { read: true, write: false, readAll: true, operate: false } },
    ],
    [OPERATOR, { subject: 'operator', may: { read: false, readAll: false, operate: true } }],
  ])('is said to %o', async (headers, expected) => {
    const { status, body } = await ask('me', headers);
    expect({ status, body }).toMatchObject({ status: 200, body: { isNamed: true, ...expected } });
  });
});
