import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { checkBoot } from '../../src/boot/boot-guard.js';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { MIGRATIONS_DIRECTORY, readMigrations } from '../../src/database/migrations/migration-files.js';
import { BUILD_ONLINE_VERSIONS, BUILD_SCHEMA_VERSION } from '../../src/database/migrations/schema-version.js';
import { eventually } from '../support/service.js';
import { startTestCluster, type TestCluster } from '../support/postgres.js';

// A cluster of its own: an index that is built concurrently waits for every transaction of its database.
let cluster: TestCluster;
let transactional: string;
let count = 0;
const ROWS = 3_000;
const INDEX = 'proj_tasks_changed';

beforeAll(async () => {
  cluster = await startTestCluster();
  transactional = await mkdtemp(join(tmpdir(), 'online-'));
  for (const { name } of (await readMigrations()).slice(0, BUILD_SCHEMA_VERSION)) {
    await copyFile(join(MIGRATIONS_DIRECTORY, name), join(transactional, name));
  }
});

afterAll(async () => {
  await cluster.stop();
  await rm(transactional, { recursive: true });
});

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  // The tests below end sessions.
  client.on('error', () => {});
  await client.connect();
  return client;
}

describe('a migration of the online kind', () => {
  let database: string;
  let superuser: pg.Client;

  /** Tasks and files of before the columns: without tags and blobs. */
  beforeEach(async () => {
    database = `online_${(count += 1)}`;
    await cluster.createDatabase(database);
    await migrate(cluster.ownerUrl(database), { directory: transactional });
    superuser = await connect(cluster.superuserUrl(database));
    await superuser.query(`
      SET session_replication_role = replica;
      INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, metadata,
          status, correlation_id, changed_xid)
        SELECT lpad(to_hex(n), 32, '0')::uuid, '', 'o', n, 'f', 't', '{"n":1}', 'RUNNING', gen_random_uuid(), NULL
        FROM generate_series(1, ${ROWS}) n;
      INSERT INTO taskbridge.proj_attachments (attachment_id, task_id, position, tenant_id, owner_id, filename, content_type,
          size_bytes, sha256)
        SELECT task_id, task_id, 0, '', 'o', 'a', 'text/plain', 1, repeat('a', 64) FROM taskbridge.proj_tasks;
      RESET session_replication_role`);
  });

  afterEach(() => superuser.end());

  const state = async () => {
    const { rows } = await superuser.query<{ step: string; position: string | null; is_finished: boolean }>(
      'SELECT step, position, finished_at IS NOT NULL AS is_finished FROM taskbridge.schema_online_steps',
    );
    return Object.fromEntries(
      rows.map(({ step, position, is_finished }) => [step, is_finished ? 'finished' : position]),
    );
  };

  const indexes = async () => {
    const { rows } = await superuser.query<{ name: string; is_valid: boolean }>(
      `SELECT c.relname AS name, i.indisvalid AS is_valid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE c.relname ~ '^${INDEX}(_cc|$)'`,
    );
    return rows;
  };

  /** Everything that the steps make is there, once. */
  const expectFinished = async () => {
    expect(await indexes()).toEqual([{ name: INDEX, is_valid: true }]);
    const { rows } = await superuser.query(
      `SELECT (SELECT count(*)::int FROM taskbridge.proj_attachments WHERE blob_id = attachment_id) AS blobs,
        (SELECT count(*)::int FROM taskbridge.proj_task_tags) AS tags,
        (SELECT sum(n)::int FROM taskbridge.proj_task_counts) AS counted`,
    );
    expect(rows).toEqual([{ blobs: ROWS, tags: ROWS, counted: ROWS }]);
    expect(new Set(Object.values(await state()))).toEqual(new Set(['finished']));
  };

  function started(): ChildProcess & { lines: string } {
    const env = { PATH: process.env['PATH'], MIGRATION_DATABASE_URL: cluster.ownerUrl(database) };
    const child = Object.assign(spawn(process.execPath, ['dist/migrate.js'], { env }), { lines: '' });
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text) => (child.lines += String(text)));
    return child;
  }

  async function migrationSession(): Promise<number> {
    let pid: number | undefined;
    await eventually('the migration has a session', async () => {
      const { rows } = await superuser.query<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'taskbridge migrate'`,
      );
      pid = rows[0]?.pid;
      return pid !== undefined;
    });
    return pid ?? 0;
  }

  it('that is not finished keeps no service of this build from starting, and is named at the start', async () => {
    const seen: (readonly number[])[] = [];
    const boot = () =>
      checkBoot(cluster.appUrl(database), { bootWaitSeconds: 0, onUnfinished: (versions) => seen.push(versions) });
    await boot();
    expect(seen).toEqual([BUILD_ONLINE_VERSIONS]);
    const lines: string[] = [];
    const skipped = await migrate(cluster.ownerUrl(database), { online: false, log: (line) => lines.push(line) });
    expect(skipped).toEqual({ applied: [] });
    expect(lines).toEqual([expect.stringMatching(/^left 0010_\w+\.sql for later/)]);
    await migrate(cluster.ownerUrl(database));
    await boot();
    expect(seen).toHaveLength(1);
    await expectFinished();
  });

  it('killed while an index is built leaves one that is not valid, and the next run builds it again', async () => {
    const reader = await connect(cluster.superuserUrl(database));
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await reader.query('SELECT count(*) FROM taskbridge.proj_tasks');
    const killed = started();
    await eventually('the index waits for the reader', async () => (await indexes()).length > 0);
    const ended = once(killed, 'exit');
    killed.kill('SIGKILL');
    await ended;
    expect(await indexes()).toEqual([{ name: INDEX, is_valid: false }]);
    await checkBoot(cluster.appUrl(database), { bootWaitSeconds: 0 });
    await reader.end();

    const again = started();
    expect(await once(again, 'exit')).toEqual([0, null]);
    expect(again.lines).toMatch(/applied 0010_\w+\.sql\n/);
    await expectFinished();
  }, 60_000);

  it.each([
    ['SIGKILL of npm run migrate', 'tags', 'proj_tasks', 'task_id'],
    ['pg_terminate_backend', 'blob_id', 'proj_attachments', 'attachment_id'],
  ])(
    'ended by %s in the middle of %s continues behind the last batch',
    async (how, step, table, key) => {
      const holder = await connect(cluster.superuserUrl(database));
      await holder.query('BEGIN');
      await holder.query(
        `SELECT FROM taskbridge.${table} WHERE ${key} = lpad(to_hex(${ROWS - 500}), 32, '0')::uuid FOR UPDATE`,
      );
      const run = started();
      const exit = once(run, 'exit');
      await eventually(
        'it waits for the row in the last batch',
        async () => (await state())[step]?.endsWith('7d0') === true,
      );
      if (how === 'pg_terminate_backend') {
        await superuser.query('SELECT pg_terminate_backend($1)', [await migrationSession()]);
        expect(await exit).toEqual([1, null]);
        expect(run.lines).toMatch(/\n0010_\w+\.sql: [^\n]+\n$/);
      } else {
        run.kill('SIGKILL');
        await exit;
      }
      await holder.end();

      const again = started();
      expect(await once(again, 'exit')).toEqual([0, null]);
      expect(again.lines).toContain(`continues ${step}\n`);
      expect(again.lines).not.toContain(`begins ${INDEX}\n`);
      await expectFinished();
    },
    60_000,
  );

  it('run several times at once does each step once, and finds nothing to do later', async () => {
    const url = cluster.ownerUrl(database);
    const runs = await Promise.all([migrate(url), migrate(url), migrate(url)]);
    expect(runs.flatMap(({ applied }) => applied)).toHaveLength(BUILD_ONLINE_VERSIONS.length);
    expect(await migrate(url)).toEqual({ applied: [] });
    await expectFinished();
  });

  it.each([
    [
      'an index of another name',
      '-- step: one\nCREATE INDEX CONCURRENTLY two ON taskbridge.events (type);\n',
      /one CREATE INDEX/,
    ],
    [
      'a second statement behind an index',
      '-- step: one\nCREATE INDEX CONCURRENTLY one ON x (y);\nSELECT 1;\n',
      /one CREATE INDEX/,
    ],
    ['two steps of one name', '-- step: one\nSELECT 1;\n-- step: one\nSELECT 1;\n', /two of the same name/],
    ['no step', 'SELECT 1;\n', /has no step/],
    ['a step with an odd name', '-- step: One!\nSELECT 1;\n', /is not named/],
  ])('with %s is refused before it connects', async (_what, steps, line) => {
    const directory = await mkdtemp(join(tmpdir(), 'online-'));
    const all = await readMigrations();
    const name = `${String(all.length + 1).padStart(4, '0')}_next.sql`;
    for (const shipped of all) {
      await copyFile(join(MIGRATIONS_DIRECTORY, shipped.name), join(directory, shipped.name));
    }
    await writeFile(join(directory, name), `-- oldest-build: 1\n-- online\n${steps}`);
    const refused = migrate('postgres://nobody@127.0.0.1:1/nothing', { directory });
    await expect(refused).rejects.toThrow(line);
    await rm(directory, { recursive: true });
  });
});
