import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { MIGRATIONS_DIRECTORY, readMigrations } from '../../src/database/migrations/migration-files.js';
import { removeFinishedTasks } from '../../src/database/remove-finished-tasks.js';
import { readRoleFindings } from '../../src/database/roles/role-findings.js';
import { connectionOptions } from '../../src/database/session-settings.js';
import { oldRoleFindings } from '../support/old-build.js';
import { startTestCluster, type TestCluster } from '../support/postgres.js';

// What the database itself does for every build: the columns, defaults and triggers of the ground, made on an installation that
// had only the migrations of release 0.1.0, with tasks in it.

const OF_RELEASE_0_1 = 5;
const OLD_TABLES = [
  ...['events', 'proj_tasks', 'proj_attachments', 'proj_uploads', 'proj_suspensions', 'entries_action_receipts'],
  ...['entries_lease_endings', 'schema_migrations'],
];

let cluster: TestCluster;
let owner: pg.Client;
let app: pg.Client;
let retention: pg.Client;
let before: Record<string, string>;
const oldTask = '01900000-0000-7000-8000-000000000001';
const oldOver = '01900000-0000-7000-8000-000000000002';

/** Shipped migrations up to this number. */
async function migrationsUpTo(version: number): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'ground-'));
  for (const { name } of (await readMigrations()).slice(0, version)) {
    await copyFile(join(MIGRATIONS_DIRECTORY, name), join(directory, name));
  }
  return directory;
}

async function connect(options: pg.ClientConfig | string): Promise<pg.Client> {
  const client = new pg.Client(options);
  await client.connect();
  return client;
}

async function files(): Promise<Record<string, string>> {
  const { rows } = await owner.query<{ name: string; file: string }>(
    `SELECT relname AS name, relfilenode::text AS file FROM pg_class
      WHERE relnamespace = 'taskbridge'::regnamespace AND relkind = 'r' AND relname = ANY ($1)`,
    [OLD_TABLES],
  );
  return Object.fromEntries(rows.map(({ name, file }) => [name, file]));
}

beforeAll(async () => {
  cluster = await startTestCluster();
  await cluster.createDatabase('ground');
  const directory = await migrationsUpTo(OF_RELEASE_0_1);
  await migrate(cluster.ownerUrl('ground'), { directory }).finally(() => rm(directory, { recursive: true }));
  owner = await connect(cluster.superuserUrl('ground'));
  await owner.query(`
    INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, metadata, status,
      claimable_at, correlation_id, finished_at)
    VALUES ('${oldTask}', '', 'old', '1', 'f', 'old.type', '{"colour":"red","deep":{"no":1}}', 'ACCEPTED', now(),
        gen_random_uuid(), NULL),
      ('${oldOver}', '', 'old', '2', 'f', 'old.type', '{"bad":"\\u0000","colour":"red"}', 'COMPLETED', NULL, gen_random_uuid(),
        now() - interval '90 days');
    INSERT INTO taskbridge.proj_attachments (attachment_id, task_id, position, tenant_id, owner_id, filename, content_type,
      size_bytes, sha256) VALUES ('01900000-0000-7000-8000-00000000000a', '${oldTask}', 0, '', 'old', 'a', 'text/plain', 1,
      repeat('a', 64));
    INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
      VALUES ('${oldOver}', 1, 'TASK_COMPLETED', '{}', gen_random_uuid(), 'p')`);
  before = await files();
  await migrate(cluster.ownerUrl('ground'));
  app = await connect(connectionOptions(cluster.appUrl('ground')));
  const retentionUrl = cluster.appUrl('ground').replace('taskbridge_app', 'taskbridge_retention');
  retention = await connect(connectionOptions(retentionUrl));
});

afterAll(async () => {
  await Promise.all([owner, app, retention].map((client) => client?.end()));
  await cluster.stop();
});

let count = 0;

/** As release 0.1.0 inserts: no column of the ground is named. */
async function create({
  as = app,
  ownerId = 'alice',
  metadata = null as string | null,
  status = 'ACCEPTED',
}: {
  as?: pg.Client;
  ownerId?: string;
  metadata?: string | null;
  status?: string;
} = {}): Promise<string> {
  const { rows } = await as.query<{ task_id: string }>(
    `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, metadata, status,
        claimable_at, finished_at, correlation_id)
      VALUES (gen_random_uuid(), '', $1, $2, 'f', 't', $3, $4, CASE WHEN $4 = 'ACCEPTED' THEN now() END,
        CASE WHEN $4 = 'COMPLETED' THEN now() - interval '90 days' END, gen_random_uuid())
      RETURNING task_id`,
    [ownerId, `r${(count += 1)}`, metadata, status],
  );
  return rows[0]?.task_id ?? '';
}

async function one<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row> {
  const [row] = (await owner.query<Row>(text, [...values])).rows;
  if (row === undefined) throw new Error(`no row: ${text}`);
  return row;
}

async function tagsOf(taskId: string): Promise<Record<string, string>> {
  const { rows } = await owner.query<{ key: string; value: string }>(
    'SELECT key, value FROM taskbridge.proj_task_tags WHERE task_id = $1 ORDER BY key',
    [taskId],
  );
  return Object.fromEntries(rows.map(({ key, value }) => [key, value]));
}

describe('the migration', () => {
  it('rewrites no table that was there', async () => {
    expect(Object.keys(before).sort()).toEqual([...OLD_TABLES].sort());
    expect(await files()).toEqual(before);
  });

  it('gives a role the rights that this guard and the one of release 0.1.0 ask for', async () => {
    expect(await readRoleFindings(app)).toEqual([]);
    expect(await oldRoleFindings(app)).toEqual([]);
  });

  it('makes tags, blobs and counts of what was there before', async () => {
    expect(await tagsOf(oldTask)).toEqual({ colour: 'red' });
    expect(await tagsOf(oldOver)).toEqual({});
    expect(
      await one('SELECT blob_id = attachment_id AS own FROM taskbridge.proj_attachments WHERE task_id = $1', [oldTask]),
    ).toEqual({ own: true });
    const { rows } = await owner.query(
      `SELECT status, n::int FROM taskbridge.proj_task_counts WHERE owner_id = 'old' ORDER BY status`,
    );
    expect(rows).toEqual([
      { status: 'ACCEPTED', n: 1 },
      { status: 'COMPLETED', n: 1 },
    ]);
  });
});

describe('the transaction of the last change', () => {
  const changed = (taskId: string) =>
    one<{ xid: string | null }>('SELECT changed_xid::text AS xid FROM taskbridge.proj_tasks WHERE task_id = $1', [
      taskId,
    ]);
  const update = async (taskId: string, set: string) => {
    const { rows } = await app.query<{ xid: string }>(
      `WITH changed AS (UPDATE taskbridge.proj_tasks SET ${set} WHERE task_id = $1 RETURNING 1)
        SELECT pg_current_xact_id()::text AS xid FROM changed`,
      [taskId],
    );
    return rows[0]?.xid;
  };

  it('is there from the beginning, also where an older build makes the task', async () => {
    await app.query('BEGIN');
    const taskId = await create();
    const { rows } = await app.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid');
    await app.query('COMMIT');
    expect(await changed(taskId)).toEqual({ xid: rows[0]?.xid });
  });

  it.each([
    `status = 'RUNNING'`,
    'claimable_at = NULL',
    `suspend_id = 's1'`,
    'cancel_requested_at = now()',
    `aside_code = 'NOT_WRITABLE'`,
  ])('follows %s', async (set) => {
    const taskId = await create();
    const xid = await update(taskId, set);
    expect(await changed(taskId)).toEqual({ xid });
  });

  it('does not follow an append, which changes the head and the lease', async () => {
    const taskId = await create();
    const made = await changed(taskId);
    await update(
      taskId,
      'head_event_id = 1, revision = 1, progress = 0.5, lease_expires_at = now(), updated_at = now()',
    );
    expect(await changed(taskId)).toEqual(made);
  });
});

describe('tags', () => {
  it.each([
    ['scalars, as text', '{"a":"x","b":1.50,"c":true,"d":null,"e":[1],"f":{"g":1}}', { a: 'x', b: '1.50', c: 'true' }],
    ['nothing of an empty object', '{}', {}],
    ['nothing of what is no object', '[1]', {}],
    ['nothing of a NUL, which PostgreSQL cannot take apart', '{"a":"\\u0000","b":"x"}', {}],
    ['nothing of half a character', '{"a":"\\ud800","b":"x"}', {}],
    ['whole characters that are escaped', '{"a":"\\ud83d\\ude00"}', { a: '😀' }],
    ['no long value and no long key', `{"${'k'.repeat(65)}":"v","long":"${'v'.repeat(257)}","ok":"v"}`, { ok: 'v' }],
    ['the first of a member that is there twice, or none', '{"a":"x","a":"x"}', { a: 'x' }],
    ['numbers of any size', '{"n":9007199254740993}', { n: '9007199254740993' }],
    ['nothing of metadata above 64 KiB', `{"a":"x","b":"${'v'.repeat(70_000)}"}`, {}],
  ])('are %s', async (_what, metadata, tags) => {
    expect(await tagsOf(await create({ metadata }))).toEqual(tags);
  });

  it('are at most sixteen', async () => {
    const metadata = JSON.stringify(Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`k${100 + n}`, n])));
    expect(Object.keys(await tagsOf(await create({ metadata })))).toHaveLength(16);
  });

  it('of one task do not depend on the odd metadata of another in the same statement', async () => {
    const { rows } = await app.query<{ task_id: string }>(
      `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, metadata,
          correlation_id)
        SELECT gen_random_uuid(), '', 'alice', 'batch' || n, 'f', 't', m::json, gen_random_uuid()
        FROM unnest($1::text[]) WITH ORDINALITY AS x (m, n) RETURNING task_id`,
      [['{"a":"1"}', '{"a":"\\u0000"}', '{"a":"3"}']],
    );
    const tags = [];
    for (const { task_id } of rows) tags.push(await tagsOf(task_id));
    expect(tags).toEqual([{ a: '1' }, {}, { a: '3' }]);
  });

  it('fit for the longest owner, tenant, key and value there may be', async () => {
    const long = 'é'.repeat(255);
    await app.query(
      `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, metadata,
        correlation_id) VALUES (gen_random_uuid(), $1, $2, 'long', 'f', 't', $3, gen_random_uuid())`,
      [`${long}t`, long, JSON.stringify({ ['k'.repeat(64)]: 'v'.repeat(256) })],
    );
    const { n } = await one<{ n: number }>(
      'SELECT count(*)::int AS n FROM taskbridge.proj_task_tags WHERE owner_id = $1',
      [long],
    );
    expect(n).toBe(1);
  });
});

describe('counts', () => {
  const counts = async (ownerId: string) => {
    const { rows } = await owner.query<{ status: string; n: number }>(
      `SELECT status, sum(n)::int AS n FROM (
          SELECT owner_id, status, n FROM taskbridge.proj_task_counts
          UNION ALL SELECT owner_id, new_status, n FROM taskbridge.proj_task_count_changes WHERE new_status IS NOT NULL
          UNION ALL SELECT owner_id, old_status, -n FROM taskbridge.proj_task_count_changes WHERE old_status IS NOT NULL
        ) AS c WHERE owner_id = $1 GROUP BY status HAVING sum(n) <> 0 ORDER BY status`,
      [ownerId],
    );
    return Object.fromEntries(rows.map(({ status, n }) => [status, n]));
  };

  it('follow creates, changes of status and removals, and no append', async () => {
    const ownerId = 'counted';
    const [first, second] = [await create({ ownerId }), await create({ ownerId })];
    expect(await counts(ownerId)).toEqual({ ACCEPTED: 2 });
    await app.query(`UPDATE taskbridge.proj_tasks SET status = 'RUNNING', claimable_at = NULL WHERE task_id = $1`, [
      first,
    ]);
    await app.query('UPDATE taskbridge.proj_tasks SET head_event_id = 2 WHERE task_id = $1', [first]);
    expect(await counts(ownerId)).toEqual({ ACCEPTED: 1, RUNNING: 1 });
    await app.query(
      `UPDATE taskbridge.proj_tasks SET status = 'COMPLETED', finished_at = now() - interval '90 days' WHERE task_id = $1`,
      [first],
    );
    await owner.query('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [second]);
    expect(await counts(ownerId)).toEqual({ COMPLETED: 1 });
    await removeFinishedTasks(retention, 30);
    expect(await counts(ownerId)).toEqual({});
  });
});
