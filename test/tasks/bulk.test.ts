import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { type Answer, Client, expectError, expectFieldErrors, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants } from '../support/fold.js';
import { Metrics } from '../support/metrics.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

const full = process.env['FULL'] === '1';

interface Bulk {
  readonly bulkId: string;
  readonly kind: string;
  readonly dryRun: boolean;
  readonly matched: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly taskIds?: readonly string[];
  readonly finishedAt?: string;
}

let database: TestDatabase;
let superuser: pg.Client;
let services: readonly Service[];
let worker: WorkerClient;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  const env = { DATABASE_URL: database.appUrl, OPEN_TASKS_PER_PRINCIPAL: '20000', ...WITH_WORKERS };
  services = await Promise.all([env, env].map((settings) => startService(settings, { lifetime: 'file' })));
  worker = new WorkerClient(services[0]?.url ?? '');
});

afterAll(async () => {
  await checkInvariants(database.superuserUrl);
  await Promise.all(services.map((service) => service.stop()));
  await superuser.end();
  await database.drop();
});

const url = () => services[0]?.url ?? '';
const start = (by: Client, kind: string, body: object): Promise<Answer<Bulk>> =>
  by.post(`/api/v1/tasks/bulk/${kind}`, body);
const run = (by: Client, kind: string, body: object) => start(by, kind, { clientRequestId: uniqueId(), ...body });
const read = async (by: Client, bulkId: string) => (await by.request<Bulk>('GET', `/api/v1/bulks/${bulkId}`)).body;
const finished = (by: Client, bulkId: string, withinMs = 30_000) =>
  eventually(
    'it is finished',
    async () => {
      const bulk = await read(by, bulkId);
      return bulk.finishedAt !== undefined && bulk;
    },
    withinMs,
  );

/** Failed tasks of this owner, made in the database. */
async function failed(owner: Client, taskType: string, count: number): Promise<void> {
  await worker.claim({ taskTypes: [taskType] });
  await superuser.query(
    `WITH made AS (
        INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, status, head_event_id,
          attempt, started_at, finished_at, correlation_id)
        SELECT gen_random_uuid(), '', $1, 'failed ' || n, '', $2, 'FAILED', 2, 1, now(), now(), gen_random_uuid()
        FROM generate_series(1, $3) AS n RETURNING task_id, correlation_id)
      INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
      SELECT task_id, 1, 'TASK_STARTED', '{}'::json, correlation_id, 'p' FROM made
      UNION ALL SELECT task_id, 2, 'TASK_FAILED', '{"code":"C","message":"m","retryable":true}'::json, correlation_id, 'p' FROM made`,
    [owner.principal, taskType, count],
  );
}

const waiting = async (by: Client, taskType: string): Promise<string> => {
  const answer = await by.create({ clientRequestId: uniqueId(), taskType });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.body.taskId;
};

describe('A bulk', () => {
  it('cancels the tasks that are named, and says of each what became of it', async () => {
    const client = newPrincipal(url());
    const taskType = uniqueId('bulk');
    const ids = [await waiting(client, taskType), await waiting(client, taskType)];
    const over = await waiting(client, taskType);
    await client.cancel(over);
    const foreign = await waiting(newPrincipal(url()), taskType);
    const untouched = await waiting(client, taskType);
    const missing = '01890000-0000-7000-8000-000000000000';
    const answer = await run(client, 'cancel', { ids: [...ids, over, foreign, missing, ids[0]] });
    expect(answer).toMatchObject({ status: 202, body: { kind: 'cancel', dryRun: false, matched: 5 } });
    const { outcomes } = await finished(client, answer.body.bulkId);
    expect(outcomes).toEqual({ CANCELLATION_REQUESTED: 2, ALREADY_TERMINAL: 1, TASK_NOT_FOUND: 2 });
    for (const id of ids) expect((await client.snapshot(id)).body.status).toBe('CANCELLED');
    expect((await client.snapshot(untouched)).body.status).toBe('ACCEPTED');
    const { rows } = await superuser.query(
      'SELECT principal_id, action, details FROM taskbridge.entries_audit WHERE subject = $1',
      [answer.body.bulkId],
    );
    expect(rows).toEqual([{ principal_id: client.principal, action: 'bulk_cancel', details: { matched: 5 } }]);
  });

  it('runs what it showed, and nothing that came afterwards; a repeat runs nothing again', async () => {
    const client = newPrincipal(url());
    const taskType = uniqueId('bulk');
    const shownIds = [await waiting(client, taskType), await waiting(client, taskType)];
    const shown = await start(client, 'cancel', { filter: { taskType }, dryRun: true });
    expect(shown).toMatchObject({ status: 200, body: { dryRun: true, matched: 2, outcomes: {} } });
    expect([...(shown.body.taskIds ?? [])].sort()).toEqual([...shownIds].sort());
    const later = await waiting(client, taskType);
    expectError(await start(newPrincipal(url()), 'cancel', { bulkId: shown.body.bulkId }), 404, 'NOT_FOUND');
    expectError(await start(client, 'retry', { bulkId: shown.body.bulkId }), 404, 'NOT_FOUND');
    const beside = new Client(services[1]?.url ?? '', client.principal);
    const runs = await Promise.all(
      [client, beside, client].map((by) => start(by, 'cancel', { bulkId: shown.body.bulkId })),
    );
    expect(runs.map(({ status }) => status)).toEqual([202, 202, 202]);
    expect((await finished(client, shown.body.bulkId)).outcomes).toEqual({ CANCELLATION_REQUESTED: 2 });
    expect((await client.snapshot(later)).body.status).toBe('ACCEPTED');
    const { rowCount } = await superuser.query('SELECT FROM taskbridge.entries_audit WHERE subject = $1', [
      shown.body.bulkId,
    ]);
    expect(rowCount).toBe(1);
  });

  it(
    'that runs tasks again never matches itself, and is spread',
    async () => {
      const client = newPrincipal(url());
      const taskType = uniqueId('bulk');
      const count = full ? 10_000 : 120;
      await failed(client, taskType, count);
      const begun = performance.now();
      const answer = await run(client, 'retry', { filter: { status: 'FAILED' }, max: 10_000 });
      expect(answer.body.matched).toBe(count);
      const { outcomes } = await finished(client, answer.body.bulkId, full ? 600_000 : 60_000);
      expect(outcomes).toEqual({ RETRIED: count });
      const { rows } = await superuser.query<{ n: string; second: number }>(
        `SELECT count(*)::int AS n, max(per) AS second FROM (SELECT count(*) OVER (PARTITION BY date_trunc('second', created_at)) AS per
        FROM taskbridge.proj_tasks WHERE owner_id = $1 AND rerun_of IS NOT NULL) AS made`,
        [client.principal],
      );
      expect(rows[0]?.n).toBe(count);
      // 50 in a second, and two seconds of a part may fall into one.
      expect(Number(rows[0]?.second)).toBeLessThanOrEqual(100);
      expect(performance.now() - begun).toBeGreaterThan((count / 50 - 1) * 900);
      const reruns = await superuser.query(
        'SELECT FROM taskbridge.proj_tasks WHERE owner_id = $1 AND rerun_of IS NOT NULL GROUP BY rerun_of HAVING count(*) > 1',
        [client.principal],
      );
      expect(reruns.rowCount).toBe(0);
    },
    full ? 700_000 : 90_000,
  );

  it('that is repeated is the same one, also at once on two replicas', async () => {
    const client = newPrincipal(url());
    const taskType = uniqueId('bulk');
    await failed(client, taskType, 2);
    const beside = new Client(services[1]?.url ?? '', client.principal);
    const body = { clientRequestId: uniqueId(), filter: { taskType } };
    const runs = await Promise.all([client, beside, client, beside].map((by) => start(by, 'retry', body)));
    expect(runs.map(({ status }) => status)).toEqual([202, 202, 202, 202]);
    const ids = new Set(runs.map((answer) => answer.body.bulkId));
    expect(ids.size).toBe(1);
    const [bulkId = ''] = ids;
    expect((await finished(client, bulkId)).outcomes).toEqual({ RETRIED: 2 });
    expect((await start(beside, 'retry', body)).body).toMatchObject({ bulkId, outcomes: { RETRIED: 2 } });
    const { rows } = await superuser.query(
      'SELECT count(*)::int AS n FROM taskbridge.proj_tasks WHERE owner_id = $1 AND rerun_of IS NOT NULL',
      [client.principal],
    );
    expect(rows[0].n).toBe(2);
    const { rowCount } = await superuser.query('SELECT FROM taskbridge.entries_audit WHERE subject = $1', [bulkId]);
    expect(rowCount).toBe(1);
    for (const [kind, other] of [
      ['retry', { ...body, max: 1 }],
      ['cancel', body],
      ['retry', { clientRequestId: body.clientRequestId, ids: ['01890000-0000-7000-8000-000000000000'] }],
    ] as const)
      expectError(await start(client, kind, other), 409, 'IDEMPOTENCY_CONFLICT');
    const stranger = newPrincipal(url());
    expect((await start(stranger, 'retry', body)).body.bulkId).not.toBe(bulkId);
  });

  it('that is not finished is counted', async () => {
    const client = newPrincipal(url());
    const taskType = uniqueId('bulk');
    await failed(client, taskType, 120);
    const unfinished = async () => (await Metrics.scrape(url())).of('bulks_unfinished');
    const { bulkId } = (await run(client, 'retry', { filter: { taskType } })).body;
    await eventually('it is counted', async () => (await unfinished()) === 1);
    await finished(client, bulkId);
    await eventually('it is counted no more', async () => (await unfinished()) === 0);
    const reruns = await Promise.all(
      services.map(async (service) => (await Metrics.scrape(service.url)).of('reruns_total')),
    );
    expect(reruns.reduce((sum, n) => sum + n, 0)).toBeGreaterThanOrEqual(120);
  });

  it('takes the oldest, before a time, and of a filter what the kind can do', async () => {
    const client = newPrincipal(url());
    const taskType = uniqueId('bulk');
    const first = await waiting(client, taskType);
    const second = await waiting(client, taskType);
    const cancelled = await waiting(client, taskType);
    await client.cancel(cancelled);
    const shown = async (kind: string, more: object) =>
      (await start(client, kind, { filter: { taskType }, dryRun: true, ...more })).body.taskIds;
    expect(await shown('cancel', { max: 1 })).toEqual([first]);
    expect(await shown('retry', {})).toEqual([cancelled]);
    const { createdAt } = (await client.snapshot(second)).body;
    expect(await shown('cancel', { createdBefore: createdAt })).toEqual([first]);
    expect(await shown('cancel', { createdBefore: '2020-01-01T00:00:00Z' })).toEqual([]);
  });

  it.each<[string, object, string]>([
    ['neither', {}, 'ids'],
    ['two of them', { ids: ['01890000-0000-7000-8000-000000000000'], filter: {} }, 'ids'],
    ['no ids', { ids: [] }, 'ids'],
    ['too many ids', { ids: Array.from({ length: 1_001 }, () => '01890000-0000-7000-8000-000000000000') }, 'ids'],
    ['ids with a max', { ids: ['01890000-0000-7000-8000-000000000000'], max: 1 }, 'max'],
    ['a max without a bound', { filter: {}, max: 10_001 }, 'max'],
    ['ids that run without a request id', { ids: ['01890000-0000-7000-8000-000000000000'] }, 'clientRequestId'],
    ['a request id for a preview', { filter: {}, dryRun: true, clientRequestId: 'a' }, 'clientRequestId'],
    ['a tenant without an owner', { filter: {}, tenant: 'a' }, 'tenant'],
    ['an unknown member of a filter', { filter: { owner: 'a' } }, 'filter.owner'],
    ['a filter that is none', { filter: 'all' }, 'filter'],
  ])('with %s is refused', async (_, body, path) => {
    const errors = expectFieldErrors(await start(newPrincipal(url()), 'cancel', body));
    expect(errors.map((error) => error.path)).toContain(path);
  });

  it('of another owner takes the right of an operator', async () => {
    const answer = await run(newPrincipal(url()), 'cancel', { filter: {}, owner: 'somebody' });
    expectError(answer, 403, 'ACCESS_DENIED');
  });
});
