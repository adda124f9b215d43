import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { oldRetention } from '../support/old-build.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const TABLES = [
  'events',
  'proj_tasks',
  'proj_suspensions',
  'proj_attachments',
  'proj_task_tags',
  'proj_revoked_tokens',
  'proj_engine_runs',
  'proj_webhook_outbox',
  'proj_bulk_run_tasks',
  'entries_action_receipts',
  'entries_lease_endings',
  'entries_steps',
  'entries_event_keys',
];
/** Of a task of `makeTask`, in the order of the tables. */
const WHOLE = [2, ...TABLES.slice(1).map(() => 1)];
const GONE = TABLES.map(() => 0);

describe('npm run retention', () => {
  let database: TestDatabase;
  let superuser: pg.Client;
  let retentionUrl: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    retentionUrl = database.appUrl.replace('taskbridge_app', 'taskbridge_retention');
    superuser = new pg.Client(database.superuserUrl);
    await superuser.connect();
  });

  afterAll(async () => {
    await superuser.end();
    await database.drop();
  });

  /** A task with a row in every table. */
  async function makeTask(status: string, finishedDaysAgo: number | null, events = 2): Promise<string> {
    const { rows } = await superuser.query<{ task_id: string }>(
      `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, status,
         head_event_id, correlation_id, metadata, finished_at)
       VALUES (gen_random_uuid(), '', 'alice', gen_random_uuid()::text, 'f', 't', $1, $3, gen_random_uuid(), '{"tag":"x"}',
         clock_timestamp() - make_interval(days => $2)) RETURNING task_id`,
      [status, finishedDaysAgo, events],
    );
    const taskId = rows[0]?.task_id ?? '';
    await superuser.query(
      `INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
       SELECT $1, n, 'TASK_PROGRESS', '{}', gen_random_uuid(), 'p' FROM generate_series(1, $2::int) n`,
      [taskId, events],
    );
    await superuser.query(
      `INSERT INTO taskbridge.proj_suspensions (task_id, suspend_id, question, allowed_actions) VALUES ($1, '1', '{}', '{a}')`,
      [taskId],
    );
    await superuser.query(
      `INSERT INTO taskbridge.proj_attachments (attachment_id, task_id, position, tenant_id, owner_id, filename, content_type,
         size_bytes, sha256) VALUES (gen_random_uuid(), $1, 0, '', 'alice', 'a.txt', 'text/plain', 1, repeat('a', 64))`,
      [taskId],
    );
    await superuser.query(`INSERT INTO taskbridge.entries_action_receipts VALUES ($1, 'c', '1', 'f', 'alice')`, [
      taskId,
    ]);
    for (const insert of [
      `entries_lease_endings VALUES ($1, 't', 'f', '{}')`,
      `entries_steps (task_id, step_key, result, event_id, attempt) VALUES ($1, 's', '{}', 1, 1)`,
      `entries_event_keys (task_id, attempt, event_key, event_id) VALUES ($1, 1, 'k', 1)`,
      `proj_revoked_tokens (tenant_id, owner_id, task_id) VALUES ('', 'alice', $1)`,
      `proj_engine_runs (task_id, executor) VALUES ($1, 'temporal')`,
      `proj_webhook_outbox (task_id, event_id, endpoint, type) VALUES ($1, 1, 'e', 'TASK_COMPLETED')`,
    ]) {
      await superuser.query(`INSERT INTO taskbridge.${insert}`, [taskId]);
    }
    await superuser.query(
      `WITH run AS (INSERT INTO taskbridge.proj_bulk_runs (tenant_id, owner_id, kind, correlation_id)
         VALUES ('', 'alice', 'retry', gen_random_uuid()) RETURNING bulk_id)
       INSERT INTO taskbridge.proj_bulk_run_tasks (bulk_id, task_id) SELECT bulk_id, $1 FROM run`,
      [taskId],
    );
    return taskId;
  }

  async function rowsOf(taskId: string): Promise<number[]> {
    const counts = TABLES.map((table) => `(SELECT count(*)::int FROM taskbridge.${table} WHERE task_id = $1)`);
    const { rows } = await superuser.query<{ n: number[] }>(`SELECT ARRAY[${counts.join(', ')}] AS n`, [taskId]);
    return rows[0]?.n ?? [];
  }

  function retention(env: Record<string, string>) {
    return spawnSync(process.execPath, ['dist/retention.js'], {
      env: { PATH: process.env['PATH'], ...env },
      encoding: 'utf8',
      timeout: 20_000,
    });
  }

  it('removes whole tasks past their retention, and nothing of any other', async () => {
    const old = await makeTask('COMPLETED', 31);
    const recent = await makeTask('FAILED', 29);
    const live = await makeTask('RUNNING', null);

    const run = retention({ RETENTION_DATABASE_URL: retentionUrl });

    expect(run).toMatchObject({ status: 0, stdout: 'removed 1 tasks that ended more than 30 days ago\n' });
    expect(await rowsOf(old)).toEqual(GONE);
    expect(await rowsOf(recent)).toEqual(WHOLE);
    expect(await rowsOf(live)).toEqual(WHOLE);
  });

  it('leaves a mark of what it removed, and nothing else anywhere', async () => {
    const old = await makeTask('COMPLETED', 31);
    retention({ RETENTION_DATABASE_URL: retentionUrl });
    const { rows: columns } = await superuser.query<{ place: string }>(
      `SELECT format('taskbridge.%I WHERE %I', table_name, column_name) AS place FROM information_schema.columns
        WHERE table_schema = 'taskbridge' AND data_type = 'uuid'`,
    );
    const places: string[] = [];
    for (const { place } of columns) {
      const { rowCount } = await superuser.query(`SELECT FROM ${place} = $1`, [old]);
      if (rowCount !== 0) places.push(place);
    }
    expect(places).toEqual(['taskbridge.proj_removed_tasks WHERE task_id']);
    const { rows } = await superuser.query(
      `SELECT owner_id, task_type, removed_xid < pg_snapshot_xmax(pg_current_snapshot()) AS is_past
        FROM taskbridge.proj_removed_tasks WHERE task_id = $1`,
      [old],
    );
    expect(rows).toEqual([{ owner_id: 'alice', task_type: 't', is_past: true }]);
  });

  it('removes as much with the statement of release 0.1.0, which knows fewer tables', async () => {
    const old = await makeTask('COMPLETED', 31);
    const client = new pg.Client(retentionUrl);
    await client.connect();
    const removed = await client.query(await oldRetention(), [30, 500, 20_000]).finally(() => client.end());
    expect(removed.rows).toEqual([{ removed: expect.any(Number) }]);
    expect(await rowsOf(old)).toEqual(GONE);
  });

  it('removes what operators did after 400 days, and not before', async () => {
    const audit = async (days: number) => {
      await superuser.query(
        `INSERT INTO taskbridge.entries_audit (principal_id, action, correlation_id, created_at)
          VALUES ('root', $1, gen_random_uuid(), clock_timestamp() - make_interval(days => $2))`,
        [`${days} days ago`, days],
      );
    };
    await Promise.all([audit(401), audit(399)]);
    expect(retention({ RETENTION_DATABASE_URL: retentionUrl }).status).toBe(0);
    const { rows } = await superuser.query(`SELECT action FROM taskbridge.entries_audit WHERE action <> 'retention'`);
    expect(rows).toEqual([{ action: '399 days ago' }]);
  });

  it('keeps bytes that another attachment names, and gives them to the sweeper with the last one', async () => {
    const [first, second] = [await makeTask('COMPLETED', 31), await makeTask('COMPLETED', 29)];
    const { rows } = await superuser.query<{ blob: string }>(
      `UPDATE taskbridge.proj_attachments a SET blob_id = b.blob_id FROM taskbridge.proj_attachments b
        WHERE a.task_id = $1 AND b.task_id = $2 RETURNING a.blob_id AS blob`,
      [second, first],
    );
    const orphaned = async () =>
      (await superuser.query('SELECT FROM taskbridge.proj_uploads WHERE attachment_id = $1', [rows[0]?.blob])).rowCount;
    retention({ RETENTION_DATABASE_URL: retentionUrl });
    expect([await rowsOf(first), await orphaned()]).toEqual([GONE, 0]);
    retention({ RETENTION_DATABASE_URL: retentionUrl, RETENTION_DAYS: '28' });
    expect([await rowsOf(second), await orphaned()]).toEqual([GONE, 1]);
  });

  it('gives the bytes of two attachments to the sweeper when two sessions remove them at once', async () => {
    const [first, second] = [await makeTask('COMPLETED', null), await makeTask('COMPLETED', null)];
    const { rows } = await superuser.query<{ blob: string }>(
      `UPDATE taskbridge.proj_attachments a SET blob_id = b.blob_id FROM taskbridge.proj_attachments b
        WHERE a.task_id = $1 AND b.task_id = $2 RETURNING a.blob_id AS blob`,
      [second, first],
    );
    const other = new pg.Client(database.superuserUrl);
    await other.connect();
    await superuser.query('BEGIN');
    await superuser.query('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [first]);
    const removing = other.query('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [second]);
    await delay(200);
    await superuser.query('COMMIT');
    await removing.finally(() => other.end());
    const orphans = await superuser.query('SELECT FROM taskbridge.proj_uploads WHERE attachment_id = $1', [
      rows[0]?.blob,
    ]);
    expect(orphans.rowCount).toBe(1);
  });

  it('is no way for the app role to remove events', async () => {
    const task = await makeTask('COMPLETED', null);
    const app = new pg.Client(database.appUrl);
    await app.connect();
    const removing = app.query('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [task]);
    await expect(removing.finally(() => app.end())).rejects.toThrow(/permission denied for table events/);
    expect(await rowsOf(task)).toEqual(WHOLE);
  });

  it('hands the bytes of removed attachments to the sweeper of the service', async () => {
    const old = await makeTask('COMPLETED', 31);
    const { rows } = await superuser.query<{ attachment_id: string }>(
      'SELECT attachment_id FROM taskbridge.proj_attachments WHERE task_id = $1',
      [old],
    );

    retention({ RETENTION_DATABASE_URL: retentionUrl });

    const orphans = await superuser.query(
      `SELECT FROM taskbridge.proj_uploads WHERE attachment_id = $1 AND touched_at < now() - interval '1 hour'`,
      [rows[0]?.attachment_id],
    );
    expect(orphans.rowCount).toBe(1);
  });

  it('goes on in bounded steps until nothing is old enough', async () => {
    const tasks = [
      await makeTask('COMPLETED', 40, 15_000),
      await makeTask('CANCELLED', 35, 15_000),
      await makeTask('COMPLETED', 33, 15_000),
    ];

    const run = retention({ RETENTION_DATABASE_URL: retentionUrl, RETENTION_DAYS: '32' });

    expect(run.stdout).toBe('removed 3 tasks that ended more than 32 days ago\n');
    for (const taskId of tasks) expect(await rowsOf(taskId)).toEqual(GONE);
  });

  it.each([
    ['without a connection', {}, 'RETENTION_DATABASE_URL'],
    ['with days that are no number', { RETENTION_DAYS: 'many' }, 'RETENTION_DAYS'],
  ])('refuses in a line %s', (_, env, name) => {
    const run = retention({ ...(name === 'RETENTION_DAYS' && { RETENTION_DATABASE_URL: retentionUrl }), ...env });

    expect(run.status).toBe(1);
    expect(run.stderr).toMatch(new RegExp(`^${name}: .+\\n$`));
  });

  it('cannot be done as the app role', async () => {
    const old = await makeTask('COMPLETED', 400);

    const run = retention({ RETENTION_DATABASE_URL: database.appUrl });

    expect(run).toMatchObject({ status: 1, stderr: expect.stringMatching(/^RETENTION_DATABASE_URL: .+\n$/) });
    expect(await rowsOf(old)).toEqual(WHOLE);
  });

  it.each(TABLES)('gives its role no way to write %s', async (table) => {
    const client = new pg.Client(retentionUrl);
    await client.connect();
    try {
      await expect(client.query(`UPDATE taskbridge.${table} SET task_id = task_id`)).rejects.toThrow(
        /permission denied/,
      );
      await expect(client.query(`INSERT INTO taskbridge.${table} DEFAULT VALUES`)).rejects.toThrow(/permission denied/);
      await expect(client.query(`TRUNCATE taskbridge.${table}`)).rejects.toThrow(/permission denied/);
    } finally {
      await client.end();
    }
  });

  it('waits for a lock that somebody holds for a while, and removes all the same', async () => {
    const taskId = await makeTask('COMPLETED', 31);
    const holder = new pg.Client(database.superuserUrl);
    await holder.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM taskbridge.proj_tasks WHERE task_id = $1 FOR UPDATE', [taskId]);
    const run = started({ RETENTION_DATABASE_URL: retentionUrl, RETENTION_DAYS: '30' });
    // Longer than one statement waits for a lock.
    await delay(4_500);
    await holder.query('ROLLBACK');
    await holder.end();
    expect(await run).toMatchObject({
      status: 0,
      stderr: '',
      stdout: expect.stringMatching(/^removed [1-9]\d* tasks/),
    });
    expect(await rowsOf(taskId)).toEqual(GONE);
  }, 60_000);

  it('says in one line that a lock is never given back', async () => {
    const taskId = await makeTask('COMPLETED', 31);
    const holder = new pg.Client(database.superuserUrl);
    await holder.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM taskbridge.proj_tasks WHERE task_id = $1 FOR UPDATE', [taskId]);
    const run = await started({ RETENTION_DATABASE_URL: retentionUrl, RETENTION_DAYS: '30' });
    await holder.end();
    expect(run).toEqual({
      status: 1,
      stdout: '',
      stderr: 'RETENTION_DATABASE_URL: another session locked the tasks to remove, at 5 tries (55P03): run it again\n',
    });
  }, 90_000);

  it('says in one line what PostgreSQL has against it', async () => {
    const elsewhere = await createTestDatabase();
    const owner = new pg.Client(elsewhere.ownerUrl);
    await owner.connect();
    await owner.query('DROP TABLE taskbridge.entries_audit').finally(() => owner.end());
    const url = elsewhere.appUrl.replace('taskbridge_app', 'taskbridge_retention');
    expect(await started({ RETENTION_DATABASE_URL: url })).toEqual({
      status: 1,
      stdout: '',
      stderr: 'RETENTION_DATABASE_URL: relation "taskbridge.entries_audit" does not exist (42P01)\n',
    });
    await elsewhere.drop();
  });

  /** Runs the same as `retention`, and lets the test continue meanwhile. */
  async function started(env: Record<string, string>) {
    const child = spawn(process.execPath, ['dist/retention.js'], { env: { PATH: process.env['PATH'], ...env } });
    const [stdout, stderr, [status]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit') as Promise<[number | null]>,
    ]);
    return { status, stdout, stderr };
  }
});
