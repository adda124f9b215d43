import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const TABLES = [
  'events',
  'proj_tasks',
  'proj_suspensions',
  'proj_attachments',
  'entries_action_receipts',
  'entries_lease_endings',
];

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
         head_event_id, correlation_id, finished_at)
       VALUES (gen_random_uuid(), '', 'alice', gen_random_uuid()::text, 'f', 't', $1, $3, gen_random_uuid(),
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
    await superuser.query(`INSERT INTO taskbridge.entries_lease_endings VALUES ($1, 't', 'f', '{}')`, [taskId]);
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
    expect(await rowsOf(old)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(await rowsOf(recent)).toEqual([2, 1, 1, 1, 1, 1]);
    expect(await rowsOf(live)).toEqual([2, 1, 1, 1, 1, 1]);
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
    for (const taskId of tasks) expect(await rowsOf(taskId)).toEqual([0, 0, 0, 0, 0, 0]);
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
    expect(await rowsOf(old)).toEqual([2, 1, 1, 1, 1, 1]);
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
    expect(await rowsOf(taskId)).toEqual(TABLES.map(() => 0));
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
    await owner.query('DROP TABLE taskbridge.entries_lease_endings').finally(() => owner.end());
    const url = elsewhere.appUrl.replace('taskbridge_app', 'taskbridge_retention');
    expect(await started({ RETENTION_DATABASE_URL: url })).toEqual({
      status: 1,
      stdout: '',
      stderr: 'RETENTION_DATABASE_URL: relation "taskbridge.entries_lease_endings" does not exist (42P01)\n',
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
