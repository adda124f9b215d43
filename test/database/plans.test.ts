import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { STUCK_KINDS } from '#protocol/operators.js';
import { connectionOptions } from '../../src/database/session-settings.js';
import { messageEvent } from '../../src/tasks/domain/event-payloads.js';
import { ClaimTasks } from '../../src/tasks/claim-tasks.js';
import { EndAttempt } from '../../src/tasks/end-attempt.js';
import { QueueOrder } from '../../src/tasks/queue-order.js';
import { appendBatch } from '../../src/tasks/store/append-batch.js';
import { countTasks } from '../../src/tasks/store/task-counts.js';
import { listQuestions } from '../../src/tasks/store/open-questions.js';
import { listTaskViews } from '../../src/tasks/store/read-task-page.js';
import { findStuck } from '../../src/tasks/store/stuck-tasks.js';
import { insertTasks } from '../../src/tasks/store/insert-tasks.js';
import { connected } from '../support/fold.js';
import { aTask } from '../support/new-task.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { createReplica, waitingTask } from '../support/replica.js';
import { eventually } from '../support/service.js';

const TASKS = 4;
const LIMITS = { leaseSeconds: 60, maxEventsPerTask: 100 };
const WORKER = { workerId: 'plans', principalId: 'worker:plans' };

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.drop());

/** A sequential scan is the cheapest plan for a small table, and PostgreSQL keeps the plan while the table grows. */
it('no statement of a task’s way reads a whole table, however small', async () => {
  const replica = await createReplica(database.appUrl);
  for (let n = 0; n < TASKS; n += 1) await waitingTask(replica.database, 'test.any');
  const leases = await replica.get(ClaimTasks).execute(WORKER, ['test.any'], TASKS);
  expect(leases).toHaveLength(TASKS);
  const requestsOf = (some: typeof leases, batchSeq: number) =>
    some.map(({ identity: { taskId }, token }) => ({
      ...{ taskId, leaseToken: token, batchSeq },
      events: [messageEvent('x')],
    }));
  for (const requests of [requestsOf(leases, 1), requestsOf(leases.slice(0, 1), 2)]) {
    const outcomes = await appendBatch(replica.database, requests, LIMITS);
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(requests.map(() => 'stored'));
  }
  for (const { identity, token } of leases) {
    const ending = { kind: 'complete', token, result: null } as const;
    await replica.get(EndAttempt).execute(identity.taskId, ending, { remembered: true });
  }
  await replica.stop();

  await connected(database.superuserUrl, async (db) => {
    // Sessions report their statistics when they end. Each task has a claim, an append and an end; then there is one more append.
    await eventually('PostgreSQL has counted it all', async () => {
      const { rows } = await db.query<{ updates: string }>(
        `SELECT n_tup_upd AS updates FROM pg_stat_user_tables WHERE relname = 'proj_tasks'`,
      );
      return Number(rows[0]?.updates) === 3 * TASKS + 1;
    });
    const { rows } = await db.query<{ relname: string }>(
      `SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'taskbridge' AND seq_scan > 0`,
    );
    expect(rows.map(({ relname }) => relname)).toEqual([]);
  });
});

const rowsRead = () =>
  connected(database.superuserUrl, async (db) => {
    const { rows } = await db.query<{ read: string }>(
      `SELECT idx_tup_fetch + seq_tup_read AS read FROM pg_stat_user_tables WHERE relname = 'proj_tasks'`,
    );
    return Number(rows[0]?.read);
  });

it('a claim reads what is next in line, however many tasks wait', async () => {
  const waiting = 2_000;
  await connected(database.superuserUrl, async (db) => {
    await db.query(
      `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, status, claimable_at,
        vtime, correlation_id)
      SELECT gen_random_uuid(), '', 'owner-' || n % 4, n, '', 'test.queue', 'ACCEPTED', clock_timestamp(), n / 4, gen_random_uuid()
      FROM generate_series(1, $1::int) AS n`,
      [waiting],
    );
    await db.query('ANALYZE taskbridge.proj_tasks');
    await db.query('SELECT pg_stat_force_next_flush()');
  });
  const before = await rowsRead();
  const replica = await createReplica(database.appUrl);
  const leases = await replica.get(ClaimTasks).execute(WORKER, ['test.queue'], TASKS);
  expect(leases).toHaveLength(TASKS);
  await replica.stop();
  await eventually('PostgreSQL has counted the claim', async () => (await rowsRead()) > before);
  expect((await rowsRead()) - before).toBeLessThan(waiting / 4);
});

it('a create that may begin reads no task whose time has not come, however many there are', async () => {
  const later = 2_000;
  await connected(database.superuserUrl, async (db) => {
    await db.query(
      `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, claimable_at,
        correlation_id)
      SELECT gen_random_uuid(), '', 'later', n, '', 'test.later', clock_timestamp() + interval '1 day', gen_random_uuid()
      FROM generate_series(1, $1::int) AS n`,
      [later],
    );
    await db.query('ANALYZE taskbridge.proj_tasks');
    await db.query('SELECT pg_stat_force_next_flush()');
  });
  const before = await rowsRead();
  const replica = await createReplica(database.appUrl);
  const holder = { workerId: 'plans', principalId: 'system', leaseSeconds: 60, limits: null };
  const limits = { 'test.now': { type: 100, owner: 100 } };
  const task = (n: number) => aTask({ taskType: 'test.now', leaseToken: `1.${n}` });
  const outcomes = [
    ...(await insertTasks(replica.database, [task(1)], null, holder)),
    ...(await insertTasks(replica.database, [task(2), task(3)], null, holder)),
    ...(await insertTasks(replica.database, [task(4)], null, { ...holder, limits })),
  ];
  expect(outcomes).toMatchObject(outcomes.map(() => ({ outcome: 'inserted', begun: {} })));
  await replica.get(QueueOrder).round();
  await replica.stop();
  await eventually('PostgreSQL has counted the creates', async () => (await rowsRead()) > before);
  expect((await rowsRead()) - before).toBeLessThan(later / 4);
});

/** An index on a column that appends change would make each of them write to every index of the table. */
it('an append changes its task’s row in place', async () => {
  const appends = 8;
  const updates = () =>
    connected(database.superuserUrl, async (db) => {
      const { rows } = await db.query<{ all: string; in_place: string }>(
        `SELECT n_tup_upd AS all, n_tup_hot_upd AS in_place FROM pg_stat_user_tables WHERE relname = 'proj_tasks'`,
      );
      return { all: Number(rows[0]?.all), inPlace: Number(rows[0]?.in_place) };
    });
  const replica = await createReplica(database.appUrl);
  const before = await updates();
  await waitingTask(replica.database, 'test.in-place');
  const [lease] = await replica.get(ClaimTasks).execute(WORKER, ['test.in-place'], 1);
  for (let batchSeq = 1; batchSeq <= appends; batchSeq += 1) {
    const request = { taskId: lease?.identity.taskId ?? '', leaseToken: lease?.token ?? '', batchSeq };
    const [outcome] = await appendBatch(replica.database, [{ ...request, events: [messageEvent('x')] }], LIMITS);
    expect(outcome?.outcome).toBe('stored');
  }
  await replica.stop();
  await eventually('PostgreSQL has counted it all', async () => (await updates()).all - before.all >= appends + 1);
  expect((await updates()).inPlace - before.inPlace).toBe(appends);
});

describe('each index of the online migration and of the new tables', () => {
  const ID = `'01900000-0000-7000-8000-000000000001'`;

  it.each([
    [
      'proj_tasks_changed',
      `SELECT task_id FROM taskbridge.proj_tasks WHERE tenant_id = '' AND owner_id = 'o' AND changed_xid >= '9' ORDER BY changed_xid LIMIT 9`,
    ],
    [
      'proj_tasks_changed_all',
      `SELECT task_id FROM taskbridge.proj_tasks WHERE changed_xid >= '9' ORDER BY changed_xid LIMIT 9`,
    ],
    [
      'proj_removed_tasks_all',
      `SELECT task_id FROM taskbridge.proj_removed_tasks WHERE removed_xid >= '9' ORDER BY removed_xid LIMIT 9`,
    ],
    [
      'proj_tasks_unplaced',
      'SELECT FROM taskbridge.proj_tasks t WHERE t.vtime IS NULL AND t.claimable_at <= now() ORDER BY t.claimable_at LIMIT 9',
    ],
    [
      'proj_tasks_places',
      `SELECT max(vtime) FROM taskbridge.proj_tasks WHERE tenant_id = '' AND owner_id = 'o' AND task_type = 't' AND priority = 5
        AND finished_at IS NULL`,
    ],
    [
      'proj_tasks_ownerless',
      `SELECT FROM taskbridge.proj_tasks WHERE finished_at IS NULL AND claimable_at IS NULL AND lease_token IS NULL
        AND suspend_id IS NULL AND aside_code IS NULL AND hold_key IS NULL ORDER BY task_id LIMIT 9`,
    ],
    [
      'proj_tasks_of_tenant',
      `SELECT task_id FROM taskbridge.proj_tasks WHERE tenant_id = 't' AND tenant_id <> '' AND task_id < ${ID} ORDER BY task_id DESC LIMIT 9`,
    ],
    [
      'proj_tasks_asking',
      `SELECT task_id FROM taskbridge.proj_tasks WHERE suspend_id IS NOT NULL
        AND (coalesce(changed_xid, '0'::xid8), task_id) > ('9'::xid8, ${ID}) ORDER BY coalesce(changed_xid, '0'::xid8), task_id LIMIT 9`,
    ],
    [
      'proj_tasks_retried',
      'SELECT task_id FROM taskbridge.proj_tasks WHERE finished_at IS NULL AND spent_attempts > 0 ORDER BY task_id LIMIT 9',
    ],
    [
      'entries_audit_retention',
      `SELECT FROM taskbridge.entries_audit WHERE action = 'retention' ORDER BY created_at DESC LIMIT 1`,
    ],
    [
      'proj_attachments_shared',
      `SELECT FROM taskbridge.proj_attachments WHERE blob_id = ${ID} AND blob_id <> attachment_id`,
    ],
    [
      'proj_task_tags_pkey',
      `SELECT task_id FROM taskbridge.proj_task_tags WHERE tenant_id = '' AND owner_id = 'o' AND key = 'k' AND value = 'v'
        ORDER BY task_id DESC LIMIT 9`,
    ],
    ['proj_task_tags_task', `DELETE FROM taskbridge.proj_task_tags WHERE task_id = ANY (ARRAY[${ID}]::uuid[])`],
    [
      'proj_bulk_run_tasks_task',
      `DELETE FROM taskbridge.proj_bulk_run_tasks WHERE task_id = ANY (ARRAY[${ID}]::uuid[])`,
    ],
    ['entries_steps_pkey', `DELETE FROM taskbridge.entries_steps WHERE task_id = ANY (ARRAY[${ID}]::uuid[])`],
    ['entries_event_keys_pkey', `DELETE FROM taskbridge.entries_event_keys WHERE task_id = ANY (ARRAY[${ID}]::uuid[])`],
    [
      'proj_webhook_outbox_pkey',
      `DELETE FROM taskbridge.proj_webhook_outbox WHERE task_id = ANY (ARRAY[${ID}]::uuid[])`,
    ],
    [
      'proj_removed_tasks_owner',
      `SELECT task_id FROM taskbridge.proj_removed_tasks WHERE tenant_id = '' AND owner_id = 'o' AND removed_xid >= '9' ORDER BY removed_xid`,
    ],
    [
      'proj_removed_tasks_removed',
      `SELECT FROM taskbridge.proj_removed_tasks WHERE removed_at <= now() ORDER BY removed_at LIMIT 9`,
    ],
    ['proj_replicas_seen', `SELECT FROM taskbridge.proj_replicas WHERE seen_at >= now() - interval '20 seconds'`],
    ['proj_task_counts_none', 'DELETE FROM taskbridge.proj_task_counts WHERE n = 0'],
    [
      'proj_webhook_outbox_due',
      `SELECT FROM taskbridge.proj_webhook_outbox WHERE endpoint = 'e' AND due_at <= now() ORDER BY due_at LIMIT 9`,
    ],
    ['proj_engine_runs_due', 'SELECT FROM taskbridge.proj_engine_runs WHERE due_at <= now() ORDER BY due_at LIMIT 9'],
    ['proj_schedules_next', 'SELECT FROM taskbridge.proj_schedules WHERE next_at <= now() ORDER BY next_at LIMIT 9'],
    [
      'entries_audit_created',
      'SELECT FROM taskbridge.entries_audit WHERE created_at <= now() ORDER BY created_at LIMIT 9',
    ],
  ])('finds the rows of %s', async (index, statement) => {
    const client = new pg.Client(connectionOptions(database.superuserUrl));
    await client.connect();
    const { rows } = await client
      .query<{ 'QUERY PLAN': string }>(`EXPLAIN (COSTS OFF) ${statement}`)
      .finally(() => client.end());
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect(plan).toMatch(new RegExp(`Scan( Backward)? (using|on) ${index}\\b`));
    expect(plan).not.toMatch(/Seq Scan|Sort/);
  });
});

it('a page of a list over owners reads what it shows, however many tasks there are', async () => {
  const others = 4_000;
  await connected(database.superuserUrl, async (db) => {
    // A count reads those that are open, up to a limit.
    await db.query('DELETE FROM taskbridge.proj_tasks WHERE finished_at IS NULL');
    await db.query(
      `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, status, correlation_id,
        finished_at, spent_attempts)
      SELECT gen_random_uuid(), CASE WHEN n % 400 = 0 THEN 'few' ELSE 'many' END, 'o-' || n % 7, n, '', 'test.listed', 'COMPLETED',
        gen_random_uuid(), clock_timestamp(), 1 FROM generate_series(1, $1::int) AS n`,
      [others],
    );
    await db.query('ANALYZE taskbridge.proj_tasks');
    await db.query('SELECT pg_stat_force_next_flush()');
  });
  const replica = await createReplica(database.appUrl);
  const before = await rowsRead();
  const attempts = () => 3;
  const { database: db } = replica;
  for (const scope of [{}, { tenantId: 'many' }, { tenantId: 'few' }, { tenantId: 'many', ownerId: 'o-1' }])
    expect((await listTaskViews(db, scope, {}, { limit: 9 }, attempts)).views).toHaveLength(9);
  await listQuestions(db, {}, { limit: 9 });
  await listQuestions(db, { tenantId: 'many', ownerId: 'o-1' }, { limit: 9 });
  for (const kind of STUCK_KINDS) await findStuck(db, kind, {}, 9, 30);
  await countTasks(db, {});
  await countTasks(db, { tenantId: 'many', ownerId: 'o-1' });
  await replica.stop();
  await eventually('PostgreSQL has counted the pages', async () => (await rowsRead()) > before);
  expect((await rowsRead()) - before).toBeLessThan(others / 4);
});
