import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { type Answer, Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

const PAGE = readFileSync(fileURLToPath(new URL('../../docs/sql.md', import.meta.url)), 'utf8');
const example = (name: string) =>
  new RegExp(`<!-- test: ${name} -->\\n\`\`\`sql\\n(.*?)\`\`\``, 's').exec(PAGE)?.[1] ?? '';

const POLICIES = {
  'sql.planned': {
    concurrencyKey: '/input/key',
    maxRunningPerKey: 1,
    rateLimit: { limit: 1_000, periodSeconds: 1, key: '/metadata/by' },
    scheduleToStartSeconds: 500,
    scheduleToFinishSeconds: 900,
  },
  'sql.late': { scheduleToStartSeconds: 1 },
};

let database: TestDatabase;
let superuser: pg.Client;
let shop: pg.Client;
let service: Service;
let client: Client;
let worker: WorkerClient;
const role = `shop_${process.pid}`;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  await superuser.query(`CREATE ROLE ${role} LOGIN; CREATE TABLE public.orders (id int PRIMARY KEY, item text);
    GRANT ALL ON public.orders TO ${role}`);
  await superuser.query(example('grant').replace('shop', role));
  shop = new pg.Client({ connectionString: database.appUrl.replace('taskbridge_app', role) });
  await shop.connect();
  const env = { DATABASE_URL: database.appUrl, TASK_TYPES: JSON.stringify(POLICIES), ...WITH_WORKERS };
  service = await startService(env, { lifetime: 'file' });
  client = newPrincipal(service.url);
  worker = new WorkerClient(service.url);
});

afterAll(async () => {
  await checkInvariants(database.superuserUrl);
  await service.stop();
  await shop.end();
  await superuser.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  await superuser.end();
  await database.drop();
});

afterEach(() => shop.query('ROLLBACK'));

type Json = Readonly<Record<string, unknown>>;
const CREATE = 'SELECT taskbridge.create_task($1, $2, $3, $4, $5) AS id';
const create = async (requestId: string, input: Json | string = {}, taskType = 'sql.task', by = shop) => {
  const text = typeof input === 'string' ? input : JSON.stringify(input);
  return (await by.query<{ id: string }>(CREATE, [client.principal, taskType, requestId, text, '{"by":"sql"}'])).rows[0]
    ?.id;
};
const refusal = async (work: Promise<unknown>) => {
  try {
    await work;
    return 'none';
  } catch (error) {
    return (error as { code: string }).code;
  }
};
const byHttp = (clientRequestId: string, input: Json, taskType = 'sql.task') =>
  client.create({ clientRequestId, taskType, input });
const known = (taskType: string) => worker.claim({ taskTypes: [taskType] });

describe('A task that is created by SQL', () => {
  it('exists when the transaction of the application commits, as the page has it', async () => {
    await shop.query(example('order'));
    const ada = new Client(service.url, 'ada');
    const { items } = (await ada.list({ clientRequestId: 'order-4711' })).body;
    expect(items).toMatchObject([{ taskType: 'shop.ship', status: 'ACCEPTED', headEventId: '0' }]);
    const taskId = items[0]?.taskId ?? '';
    expect(taskId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]/);
    const lease = await worker.lease('shop.ship', 5_000);
    expect(lease).toMatchObject({ taskId, input: { order: 4711 }, ownerId: 'ada' });
    await worker.complete(lease, { shipped: true });
    expect((await ada.snapshot(taskId)).body).toMatchObject({ status: 'COMPLETED', result: { shipped: true } });
  });

  it('does not exist when it rolls back, and is not seen before', async () => {
    const id = uniqueId();
    await shop.query('BEGIN');
    const taskId = (await create(id)) ?? '';
    expectError(await client.snapshot(taskId), 404, 'TASK_NOT_FOUND');
    await shop.query('ROLLBACK');
    expectError(await client.snapshot(taskId), 404, 'TASK_NOT_FOUND');
    expect((await client.list({ clientRequestId: id })).body.items).toEqual([]);
  });

  it('is the task of the same request over HTTP, in any order', async () => {
    await known('sql.task');
    const input = { a: [1, 2.5, { b: 'ü' }], n: 12, big: 1e21 };
    const [first, second] = [uniqueId(), uniqueId()];
    const sql = await create(first, input);
    expect((await byHttp(first, input)).body).toMatchObject({ taskId: sql, deduplicated: true });
    const http = (await byHttp(second, input)).body.taskId;
    expect(await create(second, input)).toBe(http);
    expect(await create(second, '{"n":12.0,"big":1000000000000000000000,"a":[1,25e-1,{"b":"ü"}]}')).toBe(http);
    expect(await refusal(create(second, { other: 1 }))).toBe('23505');
    expect(await refusal(create(second, input, 'sql.other'))).toBe('23505');
    expectError(await byHttp(first, { other: 1 }), 409, 'IDEMPOTENCY_CONFLICT');
    const decimals = uniqueId();
    const decimal = (await byHttp(decimals, { d: 0.1 })).body.taskId;
    expect(await create(decimals, '{"d":0.1000000000000000055511151231257827}')).toBe(decimal);
  });

  it('is one task, when HTTP and SQL come at once', async () => {
    await known('sql.task');
    const others = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const other = new pg.Client({ connectionString: database.appUrl.replace('taskbridge_app', role) });
        await other.connect();
        return other;
      }),
    );
    for (let round = 0; round < 10; round += 1) {
      const id = uniqueId();
      const ids = await Promise.all([
        ...others.map((other) => create(id, { round }, 'sql.task', other)),
        ...Array.from({ length: 5 }, async () => (await byHttp(id, { round })).body.taskId),
      ]);
      expect(new Set(ids).size).toBe(1);
    }
    await Promise.all(others.map((other) => other.end()));
  });

  it('is waited for by HTTP while its transaction is open', async () => {
    await known('sql.task');
    const id = uniqueId();
    await shop.query('BEGIN');
    const sql = await create(id, { a: 1 });
    const http = byHttp(id, { a: 1 });
    await eventually('the create waits', async () => {
      const { rows } = await superuser.query("SELECT FROM pg_stat_activity WHERE wait_event = 'transactionid'");
      return rows.length > 0;
    });
    await shop.query('COMMIT');
    expect((await http).body).toMatchObject({ taskId: sql, deduplicated: true });
  });

  it('holds up its own request alone while its transaction is open', async () => {
    await known('sql.task');
    const id = uniqueId();
    await shop.query('BEGIN');
    await create(id);
    const others = () => Promise.all(Array.from({ length: 20 }, () => byHttp(uniqueId(), {})));
    const [heldUp, ...first] = await Promise.all([byHttp(id, {}), others()]).then(([one, more]) => [one, ...more]);
    expect(expectError(heldUp as Answer<unknown>, 503, 'SERVICE_UNAVAILABLE').message).toMatch(/^Another transaction/);
    expect(heldUp?.headers.get('retry-after')).toBe('1');
    expect(first.map(({ status }) => status)).toEqual(first.map(() => 201));
    let isAnswered = false;
    const again = byHttp(id, {}).finally(() => (isAnswered = true));
    for (let round = 0; round < 5; round += 1)
      expect((await others()).map(({ status }) => status)).toEqual(first.map(() => 201));
    expect(isAnswered).toBe(false);
    await shop.query('ROLLBACK');
    expect((await again).status).toBe(201);
  });

  it('has its place in the queue like others, and the tags of its metadata', async () => {
    const taskType = uniqueId('sql');
    const taskId = await create(uniqueId(), {}, taskType);
    const { rows } = await superuser.query('SELECT key, value FROM taskbridge.proj_task_tags WHERE task_id = $1', [
      taskId,
    ]);
    expect(rows).toEqual([{ key: 'by', value: 'sql' }]);
    expect((await worker.lease(taskType, 5_000)).taskId).toBe(taskId);
  });
});

describe('The policy of its type', () => {
  const waitingFor = async (taskId: string) =>
    ((await client.snapshot(taskId)).body as { readonly waitingFor?: string }).waitingFor;
  const plans = async (taskIds: readonly (string | undefined)[]) => {
    const { rows } = await superuser.query(
      `SELECT task_id AS id, concurrency_key, rate_key, priority, max_attempts, vtime IS NULL AS "isUnplaced", hold_key,
        round(extract(epoch FROM start_deadline_at - claimable_at) * 1000)::int AS "startMs",
        round(extract(epoch FROM deadline_at - claimable_at) * 1000)::int AS "finishMs"
      FROM taskbridge.proj_tasks WHERE task_id = ANY ($1)`,
      [taskIds],
    );
    return taskIds.map((taskId) => {
      const { id, ...plan } = rows.find((row) => row.id === taskId) ?? {};
      return plan as Record<string, unknown>;
    });
  };
  const planned = (taskIds: readonly (string | undefined)[]) =>
    eventually('they are planned', async () => {
      const all = await plans(taskIds);
      return all.every(({ hold_key }) => hold_key === null) && all;
    });

  it.each([
    '"a"',
    '"ü\\"\\n\\u0007😀"',
    `"${'x'.repeat(127)}"`,
    `"${'😀'.repeat(64)}"`,
    '1.0',
    '12e2',
    '0.10',
    '1e21',
    '1.5e300',
    '12345678901234567890123',
    '-0',
    'true',
    'null',
    '{"a":1}',
  ])('gives it the keys and deadlines that HTTP would: %s', async (key) => {
    await known('sql.planned');
    const input = `{"key":${key}}`;
    const sql = await create(uniqueId(), input, 'sql.planned');
    const http = await client.request<{ taskId: string }>('POST', '/api/v1/tasks', {
      headers: { 'Content-Type': 'application/json' },
      body: `{"clientRequestId":"${uniqueId()}","taskType":"sql.planned","input":${input},"metadata":{"by":"sql"}}`,
    });
    expect(http.status).toBe(201);
    const [ofSql, ofHttp] = await planned([sql, http.body.taskId]);
    expect(ofSql).toEqual({ ...ofHttp, isUnplaced: ofSql?.['isUnplaced'] });
    expect(ofSql).toMatchObject({ rate_key: '"sql"', startMs: 500_000, finishMs: 900_000 });
    for (const id of [sql, http.body.taskId]) await client.cancel(id ?? '');
  });

  it('limits how many run', async () => {
    const key = uniqueId();
    const ids = await Promise.all([1, 2, 3].map(() => create(uniqueId(), { key }, 'sql.planned')));
    const first = await worker.lease('sql.planned', 5_000);
    expect((await worker.claim({ taskTypes: ['sql.planned'], maxTasks: 3, waitTimeoutMs: 1_000 })).body.leases).toEqual(
      [],
    );
    const waits = await Promise.all(ids.filter((id) => id !== first.taskId).map(async (id) => waitingFor(id ?? '')));
    expect(waits).toEqual(['concurrency', 'concurrency']);
    await worker.complete(first);
    await worker.complete(await worker.lease('sql.planned', 5_000));
    await worker.complete(await worker.lease('sql.planned', 5_000));
  });

  it('ends it when it comes too late', async () => {
    const taskId = (await create(uniqueId(), {}, 'sql.late')) ?? '';
    const failed = await eventually('it has failed', async () => {
      const { body } = await client.snapshot(taskId);
      return body.status === 'FAILED' && body;
    });
    expect(failed).toMatchObject({ failure: { code: 'EXPIRED' } });
  });

  it('counts beside what the caller says of time, priority and attempts', async () => {
    const named = async (parameters: string, taskType = 'sql.named') =>
      (
        await shop.query<{ id: string }>(`SELECT taskbridge.create_task($1, $2, $3, ${parameters}) AS id`, [
          client.principal,
          taskType,
          uniqueId(),
        ])
      ).rows[0]?.id;
    const later = await named("start_after => now() + interval '1 hour', deadline => now() + interval '2 hours'");
    const urgent = await named('priority => 9, max_attempts => 1');
    expect((await client.snapshot(later ?? '')).body).toMatchObject({ status: 'ACCEPTED', waitingFor: 'start_time' });
    const [, ofUrgent] = await planned([later, urgent]);
    expect(ofUrgent).toMatchObject({ priority: 9, max_attempts: 1 });
    const lease = await worker.lease('sql.named', 5_000);
    expect(lease.taskId).toBe(urgent);
    await worker.fail(lease, { code: 'NO', message: 'no', retryable: true });
    expect((await client.snapshot(urgent ?? '')).body.status).toBe('FAILED');
    const soon = await named("deadline => now() + interval '1 second'", 'sql.planned');
    await eventually(
      'its own deadline comes first',
      async () => (await client.snapshot(soon ?? '')).body.status === 'FAILED',
    );
  });
});

describe('What HTTP refuses', () => {
  const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
  it.each<[string, readonly unknown[], string]>([
    ['no owner', ['', 't', 'r', '{}'], '22023'],
    ['a reserved owner', ['worker:1', 't', 'r', '{}'], '22023'],
    ['a type that is none', ['o', 'a b', 'r', '{}'], '22023'],
    ['no request id', ['o', 't', null, '{}'], '22023'],
    ['a request id with a control', ['o', 't', 'a\u0007', '{}'], '22023'],
    ['a request id with an invisible character', ['o', 't', 'a\u202eb', '{}'], '22023'],
    ['a long request id', ['o', 't', 'x'.repeat(256), '{}'], '22023'],
    ['the request id of a schedule', ['o', 't', 'schedule:a', '{}'], '22023'],
    ['an input that is no object', ['o', 't', 'r', '[]'], '22023'],
    ['a deep input', ['o', 't', 'r', nested(32)], '22023'],
    ['a member constructor', ['o', 't', 'r', '{"a":{"constructor":1}}'], '22023'],
    ['a number beyond a double', ['o', 't', 'r', '{"n":1e400}'], '22023'],
    ['a number that would be zero', ['o', 't', 'r', '{"n":1e-400}'], '22023'],
    ['a number that a double would change', ['o', 't', 'r', '{"n":9007199254740993.5}'], '22023'],
    ['U+0000', ['o', 't', 'r', '{"a":"\\u0000"}'], '22P05'],
    ['a large input', ['o', 't', 'r', JSON.stringify({ a: 'x'.repeat(1_048_576) })], '54000'],
  ])('is refused by SQL, too: %s', async (_, parameters, state) => {
    expect(await refusal(shop.query('SELECT taskbridge.create_task($1, $2, $3, $4)', [...parameters]))).toBe(state);
  });

  it.each(['priority => 10', 'max_attempts => 0', "start_after => 'infinity'", "deadline => '-infinity'"])(
    'is refused in what a create says of time, too: %s',
    async (parameter) => {
      expect(await refusal(shop.query(`SELECT taskbridge.create_task('o', 't', 'r', ${parameter})`))).toBe('22023');
    },
  );

  it('is not what it takes: nesting and integers up to their limits', async () => {
    const taskId = await create(uniqueId(), `{"deep":${nested(30)},"n":${'9'.repeat(300)}}`);
    const { text } = await client.snapshot(taskId ?? '');
    expect(text).toContain('9'.repeat(300));
  });
});

describe('The role of creators', () => {
  it('may execute the function, and nothing else of the schema', async () => {
    const { rows } = await superuser.query<{ name: string }>(
      `SELECT p.oid::regprocedure::text AS name FROM pg_proc p WHERE p.pronamespace = 'taskbridge'::regnamespace
        AND has_function_privilege('taskbridge_creator', p.oid, 'EXECUTE')
      UNION ALL SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'taskbridge'::regnamespace AND c.relkind IN ('r', 'v', 'S')
        AND (has_table_privilege('taskbridge_creator', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
          OR has_any_column_privilege('taskbridge_creator', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))`,
    );
    expect(rows.map(({ name }) => name)).toEqual([
      'taskbridge.create_task(text,text,text,jsonb,jsonb,text,timestamp with time zone,timestamp with time zone,integer,integer)',
    ]);
    for (const statement of ['SELECT FROM taskbridge.proj_tasks', "SELECT taskbridge.demand_storable('a', '{}')"])
      expect(await refusal(shop.query(statement))).toBe('42501');
  });

  it('is refused to others, and no search_path of the caller changes the function', async () => {
    const app = new pg.Client({ connectionString: database.appUrl });
    await app.connect();
    expect(await refusal(app.query("SELECT taskbridge.create_task('o', 't', 'r')"))).toBe('42501');
    await app.end();
    await superuser.query(`CREATE SCHEMA evil AUTHORIZATION ${role}`);
    await shop.query(`CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
      RAISE EXCEPTION 'as %', current_user; END $$; SET search_path = evil, pg_catalog`);
    expect(await create(uniqueId())).toMatch(/^[0-9a-f-]{36}$/);
    await shop.query('RESET search_path');
  });
});
