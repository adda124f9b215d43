import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { Database } from '../../src/database/database.js';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { MIGRATIONS_DIRECTORY, readMigrations } from '../../src/database/migrations/migration-files.js';
import { createPool } from '../../src/database/pool.js';
import type { Queryable, Statement } from '../../src/database/queryable.js';
import { removeFinishedTasks } from '../../src/database/remove-finished-tasks.js';
import { readRoleFindings } from '../../src/database/roles/role-findings.js';
import { connectionOptions } from '../../src/database/session-settings.js';
import { forgetOldRows, keepCounts } from '../../src/tasks/store/keep-up.js';
import { oldRoleFindings } from '../support/old-build.js';
import { startTestCluster, type TestCluster } from '../support/postgres.js';
import { eventually } from '../support/service.js';

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
async function create({ ownerId = 'alice', metadata = null as string | null } = {}): Promise<string> {
  const { rows } = await app.query<{ task_id: string }>(
    `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, metadata,
        claimable_at, correlation_id)
      VALUES (gen_random_uuid(), '', $1, $2, 'f', 't', $3, now(), gen_random_uuid()) RETURNING task_id`,
    [ownerId, `r${(count += 1)}`, metadata],
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

  it('leaves no table that the page of the tables does not have', async () => {
    const page = await readFile(fileURLToPath(new URL('../../docs/data-model.md', import.meta.url)), 'utf8');
    const { rows } = await owner.query<{ name: string }>(
      `SELECT relname AS name FROM pg_class WHERE relnamespace = 'taskbridge'::regnamespace AND relkind IN ('r', 'p')`,
    );
    const listed = [...page.matchAll(/^\| `(\w+)` \|/gm)]
      .map(([, name]) => name ?? '')
      .filter((name) => name !== 'events');
    expect(['events', ...listed].sort()).toEqual(rows.map(({ name }) => name).sort());
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
    expect(rows).toEqual([{ status: 'COMPLETED', n: 1 }]);
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
    ['those of long metadata', `{"a":"x","b":"${'v'.repeat(3_000)}"}`, { a: 'x' }],
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

  it('of an owner are read by the documented query, with the tasks that wait, before and after a fold', async () => {
    const page = await readFile('docs/data-model.md', 'utf8');
    const query = /### The tasks of an owner, by status[^]+?```sql\n([^]+?)```/.exec(page)?.[1] ?? '';
    const read = async (ownerId: string) =>
      (await app.query<{ status: string; n: string }>(query, ['', ownerId])).rows.map(({ status, n }) => [status, n]);
    const ownerId = 'documented';
    const ids = [];
    for (let n = 0; n < 4; n += 1) ids.push(await create({ ownerId }));
    await create({ ownerId: 'another' });
    const become = (id: string | undefined, set: string) =>
      app.query(`UPDATE taskbridge.proj_tasks SET claimable_at = NULL, ${set} WHERE task_id = $1`, [id]);
    await become(ids[0], "status = 'RUNNING'");
    await become(ids[0], "status = 'COMPLETED', finished_at = now()");
    await become(ids[1], "status = 'RUNNING'");
    const counted = [
      ['ACCEPTED', '2'],
      ['COMPLETED', '1'],
      ['RUNNING', '1'],
    ];
    expect(await read(ownerId)).toEqual(counted);
    await keepCounts({ query: async ({ text }: Statement, values = []) => (await app.query(text, [...values])).rows });
    expect(await read(ownerId)).toEqual(counted);
    await app.query('SET enable_seqscan = off');
    const { rows: plan } = await app.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${query}`, ['', ownerId]);
    expect(plan.map((line) => line['QUERY PLAN']).join('\n')).toMatch(/proj_tasks_(open|places)/);
    await app.query('RESET enable_seqscan');
  });

  it('follow the beginning, the end and the removal of tasks, and no append', async () => {
    const ownerId = 'counted';
    const [first, second] = [await create({ ownerId }), await create({ ownerId })];
    expect(await counts(ownerId)).toEqual({});
    await app.query(`UPDATE taskbridge.proj_tasks SET status = 'RUNNING', claimable_at = NULL WHERE task_id = $1`, [
      first,
    ]);
    await app.query('UPDATE taskbridge.proj_tasks SET head_event_id = 2 WHERE task_id = $1', [first]);
    expect(await counts(ownerId)).toEqual({ RUNNING: 1 });
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

describe('upkeep', () => {
  const totals = async () =>
    (
      await owner.query(
        `SELECT status, n::int FROM taskbridge.proj_task_counts WHERE owner_id = 'folded' ORDER BY status`,
      )
    ).rows;
  const db = (): Queryable => ({
    query: async <Row extends object>({ text }: Statement, values: readonly unknown[] = []) =>
      (await app.query<Row>(text, [...values])).rows,
  });

  it('folds the changes into the totals, also when sessions fold at once, and deletes totals of nothing', async () => {
    const ids = [await create({ ownerId: 'folded' }), await create({ ownerId: 'folded' })];
    const become = (status: string) =>
      app.query('UPDATE taskbridge.proj_tasks SET status = $2, claimable_at = NULL WHERE task_id = ANY ($1)', [
        ids,
        status,
      ]);
    await become('RUNNING');
    await keepCounts(db());
    expect(await totals()).toEqual([{ status: 'RUNNING', n: 2 }]);
    await become('FAILED');
    const database = new Database(createPool(cluster.appUrl('ground'), { max: 4 }));
    await Promise.all([1, 2, 3, 4].map(() => keepCounts(database)));
    await keepCounts(database).finally(() => database.stop());
    expect(await totals()).toEqual([{ status: 'FAILED', n: 2 }]);
    expect(await one('SELECT count(*)::int AS left_over FROM taskbridge.proj_task_count_changes')).toEqual({
      left_over: 0,
    });
    const { rows: wrong } = await owner.query(
      `SELECT * FROM (SELECT owner_id, task_type, status, count(*) AS n FROM taskbridge.proj_tasks
          WHERE status <> 'ACCEPTED' GROUP BY 1, 2, 3) AS t
        FULL JOIN taskbridge.proj_task_counts AS c USING (owner_id, task_type, status, n)
        WHERE t.owner_id IS NULL OR c.owner_id IS NULL`,
    );
    expect(wrong).toEqual([]);
  });

  it('deletes what is over by age, and nothing younger', async () => {
    const insert = (ago: string) =>
      owner.query(`
        INSERT INTO taskbridge.proj_removed_tasks (task_id, tenant_id, owner_id, task_type, removed_at)
          VALUES (gen_random_uuid(), '', 'forgotten', 't', now() - interval '${ago}');
        INSERT INTO taskbridge.proj_revoked_tokens (tenant_id, owner_id, revoked_at)
          VALUES ('', 'forgotten ${ago}', now() - interval '${ago}');
        INSERT INTO taskbridge.proj_replicas (replica_id, build, seen_at)
          VALUES (gen_random_uuid(), 'b', now() - interval '${ago}');
        INSERT INTO taskbridge.proj_webhook_outbox (task_id, event_id, endpoint, type, settled_at)
          VALUES (gen_random_uuid(), 1, 'e', 't', now() - interval '${ago}')`);
    await insert('25 hours');
    await insert('15 minutes');
    await forgetOldRows(db());
    expect(
      await one(`SELECT
        (SELECT count(*)::int FROM taskbridge.proj_removed_tasks WHERE owner_id = 'forgotten') AS removed,
        (SELECT count(*)::int FROM taskbridge.proj_revoked_tokens) AS revoked,
        (SELECT count(*)::int FROM taskbridge.proj_replicas) AS replicas,
        (SELECT count(*)::int FROM taskbridge.proj_webhook_outbox) AS outbox`),
    ).toEqual({ removed: 1, revoked: 1, replicas: 1, outbox: 1 });
  });
});

describe('the epoch', () => {
  const epoch = async (database: string) => {
    const client = await connect(connectionOptions(cluster.appUrl(database)));
    const { rows } = await client.query<{ epoch: string }>('SELECT taskbridge.epoch()').finally(() => client.end());
    return rows[0]?.epoch;
  };
  const restart = async (prepare: () => Promise<unknown> = async () => {}) => {
    await prepare();
    await Promise.all([owner, app, retention].map((client) => client.end()));
    await cluster.crash();
    owner = await connect(cluster.superuserUrl('ground'));
    app = await connect(connectionOptions(cluster.appUrl('ground')));
    retention = await connect(
      connectionOptions(cluster.appUrl('ground').replace('taskbridge_app', 'taskbridge_retention')),
    );
  };

  it('is another one in a copy of the database, and after the row of the installation was restored', async () => {
    const here = await epoch('ground');
    expect(here).toMatch(/^[0-9a-f]{64}$/);
    await cluster.createDatabase('elsewhere');
    await migrate(cluster.ownerUrl('elsewhere'));
    const elsewhere = await epoch('elsewhere');
    // As pg_restore does: the rows of the dump in a schema of the dump.
    const { id } = await one<{ id: string }>('SELECT id FROM taskbridge.installation');
    const restored = await connect(cluster.superuserUrl('elsewhere'));
    await restored.query('DELETE FROM taskbridge.installation');
    await restored.query('INSERT INTO taskbridge.installation (id) VALUES ($1)', [id]);
    const first = await epoch('elsewhere');
    await restored.query('DELETE FROM taskbridge.installation');
    await restored.query('INSERT INTO taskbridge.installation (id) VALUES ($1)', [id]).finally(() => restored.end());
    const second = await epoch('elsewhere');
    expect(new Set([here, elsewhere, first, second]).size).toBe(4);
  });

  it('stays through a crash, a restart and a VACUUM FREEZE', async () => {
    const here = await epoch('ground');
    await restart(() => owner.query('VACUUM (FREEZE) taskbridge.installation'));
    expect(await epoch('ground')).toBe(here);
  });

  it('ends with a recovery that begins another timeline, as a failover does; migrate looks for rows above the counter', async () => {
    const here = await epoch('ground');
    const [kept, ahead] = [await create(), await create()];
    await restart(async () => {
      const { rows } = await owner.query<{ data_directory: string }>('SHOW data_directory');
      await owner.query(`ALTER SYSTEM SET restore_command = 'false'`);
      await writeFile(join(rows[0]?.data_directory ?? '', 'recovery.signal'), '');
    });
    await eventually('the recovery is over', async () => {
      return !(await one<{ is_in: boolean }>('SELECT pg_is_in_recovery() AS is_in')).is_in;
    });
    expect(await epoch('ground')).not.toBe(here);
    await owner.query(`UPDATE taskbridge.proj_tasks SET changed_xid = '888888888888' WHERE task_id = $1`, [ahead]);
    const xidOf = (taskId: string) =>
      one<{ xid: string }>(
        `SELECT changed_xid::text AS xid, changed_xid < pg_snapshot_xmax(pg_current_snapshot()) AS is_past
          FROM taskbridge.proj_tasks WHERE task_id = $1`,
        [taskId],
      );
    const before = await xidOf(kept);
    const lines: string[] = [];
    await migrate(cluster.ownerUrl('ground'), { log: (line) => lines.push(line) });
    expect(lines).toEqual(['a new epoch: 1 tasks had a transaction id above the counter']);
    expect(await xidOf(ahead)).toMatchObject({ is_past: true });
    expect(await xidOf(kept)).toEqual(before);
    lines.length = 0;
    await migrate(cluster.ownerUrl('ground'), { log: (line) => lines.push(line) });
    expect(lines).toEqual([]);
  });
});
