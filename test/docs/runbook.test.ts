import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { question, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

type Row = Readonly<Record<string, unknown>>;

const [, runbook = ''] = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8').split('## Runbook');
/** The queries by the marks above them. A block without a mark fails. */
const queries = [...runbook.matchAll(/(?:<!-- test: ([^>]*) -->\n)?```sql\n(.*?)```/gs)].map(
  ([, mark = 'a query without a mark', sql = '']) => [mark, sql] as const,
);

/** Failures as handlers and workers word them, and how PostgreSQL would stumble over each. */
const FAILURES = [
  { code: 'PLAIN', message: 'It broke.' },
  { code: 'WITH_NUL', message: 'a\u0000b' },
  { code: 'WITH_HALF_A_CHARACTER', message: 'a\ud83d' },
  { code: 'WITH_BACKSLASHES', message: 'C:\\u0000\\\\u0041 "quoted\\"' },
  { code: 'ÜMLAUT\n', message: 'two lines\n' },
] as const;

describe('Each query of the runbook', () => {
  let database: TestDatabase;
  let service: Service;
  let superuser: pg.Client;
  /** Has an old snapshot. */
  let reader: pg.Client;
  let client: Client;
  let worker: WorkerClient;
  /** The expected rows of each query, by its mark. */
  const expected: Record<string, Row[]> = {};

  const create = async (taskType: string) =>
    (await client.create({ clientRequestId: uniqueId('request'), taskType })).body.taskId;

  const addEvent = (taskId: string, type: string, payload: string) =>
    superuser.query(
      `INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
       SELECT task_id, head_event_id + 1, $2, $3, correlation_id, 'somebody' FROM taskbridge.proj_tasks WHERE task_id = $1`,
      [taskId, type, payload],
    );

  beforeAll(async () => {
    database = await createTestDatabase();
    superuser = new pg.Client({ connectionString: database.superuserUrl });
    await superuser.connect();
    const TASK_TYPES = JSON.stringify({ 'runbook.held': { maxRunningPerOwner: 1 } });
    const env = { DATABASE_URL: database.appUrl, ...WITH_WORKERS, TASK_TYPES };
    service = await startService(env, { lifetime: 'file', deadlineMs: 60_000 });
    client = newPrincipal(service.url);
    worker = new WorkerClient(service.url);

    await create('runbook.waiting');
    expected['waiting tasks'] = [{ task_type: 'runbook.waiting', count: '1' }];

    const since = new Date('2026-01-01T00:00:00Z');
    await superuser.query(
      `INSERT INTO taskbridge.proj_task_types (task_type, paused_at, paused_by, pause_reason) VALUES ('runbook.paused', $1, 'ops', 'why')`,
      [since],
    );
    expected['paused types'] = [
      { task_type: 'runbook.paused', paused_at: since, paused_by: 'ops', pause_reason: 'why' },
    ];
    await create('runbook.held');
    await create('runbook.held');
    await worker.claim({ taskTypes: ['runbook.held'], maxTasks: 2, leaseSeconds: 600 });
    expected['held tasks'] = [{ task_type: 'runbook.held', waits_for: 'concurrency', count: '1' }];

    reader = new pg.Client({ connectionString: database.superuserUrl, application_name: 'a report' });
    await reader.connect();
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const { rows: self } = await reader.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    expected['oldest snapshots'] = [{ holder: `session ${self[0]?.pid}`, application_name: 'a report' }];

    const suspended = await create('runbook.old');
    await worker.suspend(await worker.lease('runbook.old'), question());
    await superuser.query(
      `UPDATE taskbridge.proj_tasks SET created_at = now() - interval '8 days' WHERE task_id = $1`,
      [suspended],
    );
    expected['old tasks'] = [{ task_id: suspended, task_type: 'runbook.old', status: 'RUNNING' }];

    for (const { code, message } of FAILURES) {
      const taskId = await create('runbook.failing');
      const lease = await worker.lease('runbook.failing');
      // The edge refuses some of these of a worker; a handler inside of the service may say them.
      await worker.fail(lease, { code: 'REPLACED', retryable: false });
      await superuser.query(`UPDATE taskbridge.events SET payload = $2 WHERE task_id = $1 AND type = 'TASK_FAILED'`, [
        taskId,
        JSON.stringify({ code, message, retryable: false }),
      ]);
    }
    expected['failures'] = FAILURES.map(({ code }) => ({ task_type: 'runbook.failing', code, count: '1' }));

    const due = new Date('2026-01-02T00:00:00Z');
    // No replica makes its tasks: it is paused.
    await superuser.query(
      `INSERT INTO taskbridge.proj_schedules (tenant_id, owner_id, name, cron, time_zone, task_type, principal, next_at, paused_at, last_skip)
       VALUES ('', 'runbook', 'nightly', '30 2 * * *', 'UTC', 'runbook.due', '{}', $1, $1, 'forbidden')`,
      [due],
    );
    expected['due schedules'] = [{ owner_id: 'runbook', name: 'nightly', next_at: due, last_skip: 'forbidden' }];

    // No part of it is due for years.
    const bulkId = '5f1c0000-0000-4000-8000-000000000000';
    const [began, next] = [new Date('2026-01-03T00:00:00Z'), new Date('2100-01-01T00:00:00Z')];
    await superuser.query(
      `INSERT INTO taskbridge.proj_bulk_runs (bulk_id, tenant_id, owner_id, kind, correlation_id, created_at, due_at)
       VALUES ($1, '', 'runbook', 'retry', gen_random_uuid(), $2, $3)`,
      [bulkId, began, next],
    );
    await superuser.query(
      `INSERT INTO taskbridge.proj_bulk_run_tasks (bulk_id, task_id, outcome)
       VALUES ($1, gen_random_uuid(), 'RETRIED'), ($1, gen_random_uuid(), NULL)`,
      [bulkId],
    );
    expected['bulks that run'] = [
      { bulk_id: bulkId, owner_id: 'runbook', kind: 'retry', created_at: began, due_at: next, tasks: '2', done: '1' },
    ];

    const aside = await create('runbook.aside');
    await addEvent(aside, 'TASK_MESSAGE', '{"message":"\\u0000"}');
    await worker.claim({ taskTypes: ['runbook.aside'] });
    expected['tasks aside'] = [{ task_id: aside, task_type: 'runbook.aside', aside_code: 'EVENT_ABOVE_HEAD' }];
    expected['events above the head'] = [
      { task_id: aside, event_id: '1', type: 'TASK_MESSAGE', principal_id: 'somebody' },
    ];
    await eventually('it is aside', async () => {
      const { rowCount } = await superuser.query('SELECT FROM taskbridge.proj_tasks WHERE aside_code IS NOT NULL');
      return rowCount === 1;
    });
  }, 120_000);

  afterAll(async () => {
    await service.stop();
    await reader.end();
    await superuser.end();
    await database.drop();
  });

  it('is marked, and there are no others', () => {
    expect(queries.map(([mark]) => mark).toSorted()).toEqual(Object.keys(expected).toSorted());
  });

  it.each(queries)('returns, asked by the app role, the rows that it is for: %s', async (mark, sql) => {
    const app = new pg.Client({ connectionString: database.appUrl });
    await app.connect();
    try {
      const { rows } = await app.query<Row>(sql);
      for (const row of expected[mark] ?? [{ mark }]) expect(rows).toContainEqual(expect.objectContaining(row));
    } finally {
      await app.end();
    }
  });
});
