import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { MIGRATIONS_DIRECTORY, readMigrations } from '../../src/database/migrations/migration-files.js';
import { MigrationRefused } from '../../src/database/migrations/migration-refused.js';
import {
  BUILD_ONLINE_VERSIONS,
  BUILD_SCHEMA_VERSION,
  checkSchema,
} from '../../src/database/migrations/schema-version.js';
import { startTestCluster, type TestCluster } from '../support/postgres.js';

// A cluster of its own: some of these tests are about a cluster in which the app role does not exist yet.
let cluster: TestCluster;
const directories: string[] = [];
let count = 0;

beforeAll(async () => {
  cluster = await startTestCluster();
});

afterAll(async () => {
  await cluster.stop();
  await Promise.all(directories.map((directory) => rm(directory, { recursive: true })));
});

async function newDatabase(): Promise<string> {
  const name = `migrated_${(count += 1)}`;
  await cluster.createDatabase(name);
  return name;
}

/** The shipped migrations and these after them. */
async function directoryWith(files: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'migrations-'));
  directories.push(directory);
  for (const name of await readdir(MIGRATIONS_DIRECTORY)) {
    await copyFile(join(MIGRATIONS_DIRECTORY, name), join(directory, name));
  }
  for (const [name, sql] of Object.entries(files)) await writeFile(join(directory, name), sql);
  return directory;
}

async function connected<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function superuser(database: string, ...statements: string[]): Promise<void> {
  return connected(cluster.superuserUrl(database), async (client) => {
    for (const statement of statements) await client.query(statement);
  });
}

async function refusal(migration: Promise<unknown>): Promise<string> {
  const error = await migration.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(MigrationRefused);
  const line = (error as Error).message;
  expect(line).not.toContain('\n');
  return line;
}

const shipped = (await readdir(MIGRATIONS_DIRECTORY)).sort();
const next = `${String(shipped.length + 1).padStart(4, '0')}_next.sql`;
const afterNext = `${String(shipped.length + 2).padStart(4, '0')}_after_next.sql`;

// This comes first, because the app role must not exist before.
describe('an owner without CREATEROLE', () => {
  const owner = 'plain_owner';
  const ownerUrl = (database: string) => cluster.ownerUrl(database).replace('taskbridge_owner', owner);

  it('names what an administrator has to run, and needs nothing else', async () => {
    const database = await newDatabase();
    await superuser(database, `CREATE ROLE ${owner} LOGIN`, `ALTER DATABASE ${database} OWNER TO ${owner}`);
    expect(await refusal(migrate(ownerUrl(database)))).toBe(
      'MIGRATION_DATABASE_URL: plain_owner may not make the missing roles taskbridge_app, taskbridge_retention, taskbridge_creator; as an administrator: ' +
        'CREATE ROLE taskbridge_app LOGIN; CREATE ROLE taskbridge_retention LOGIN; CREATE ROLE taskbridge_creator NOLOGIN;',
    );
    await superuser(
      database,
      'CREATE ROLE taskbridge_app LOGIN',
      'CREATE ROLE taskbridge_retention LOGIN',
      'CREATE ROLE taskbridge_creator NOLOGIN',
    );
    expect(await migrate(ownerUrl(database))).toEqual({ applied: shipped });
    await superuser(database, `ALTER DATABASE ${database} OWNER TO taskbridge_owner`);
    for (const role of ['taskbridge_app', 'taskbridge_retention']) {
      await superuser(database, `DROP OWNED BY ${role}`, `DROP ROLE ${role}`);
    }
  });
});

describe('a migration', () => {
  it('run for two databases of one cluster at once makes the one app role they share', async () => {
    const databases = [await newDatabase(), await newDatabase(), await newDatabase()];
    const runs = await Promise.all(databases.map((database) => migrate(cluster.ownerUrl(database))));
    expect(runs).toEqual(databases.map(() => ({ applied: shipped })));
  });

  it('run several times at once applies each file once, and a later run nothing', async () => {
    const url = cluster.ownerUrl(await newDatabase());
    const runs = await Promise.all([migrate(url), migrate(url), migrate(url), migrate(url)]);
    expect(runs.flatMap(({ applied }) => applied).sort()).toEqual(shipped);
    expect(await migrate(url)).toEqual({ applied: [] });
  });

  it('leaves nobody but its owner a right to make tables, temporary ones included', async () => {
    const database = await newDatabase();
    // Clusters that were upgraded from PostgreSQL 14 have this grant.
    await superuser(database, 'GRANT CREATE ON SCHEMA public TO PUBLIC');
    await migrate(cluster.ownerUrl(database));
    const rights = await connected(cluster.appUrl(database), (client) =>
      client.query(`SELECT has_database_privilege(current_database(), 'TEMPORARY') OR
        has_database_privilege(current_database(), 'CREATE') AS database,
        has_schema_privilege('public', 'CREATE') AS public, has_schema_privilege('taskbridge', 'CREATE') AS ours`),
    );
    expect(rights.rows).toEqual([{ database: false, public: false, ours: false }]);
  });

  it('by someone who does not own the database names the statement for an administrator', async () => {
    const database = await newDatabase();
    await superuser(database, `ALTER DATABASE ${database} OWNER TO postgres`);
    expect(await refusal(migrate(cluster.ownerUrl(database)))).toBe(
      'MIGRATION_DATABASE_URL: taskbridge_owner does not own the database; as an administrator: ' +
        `REVOKE TEMPORARY, CREATE ON DATABASE "${database}" FROM PUBLIC;`,
    );
    await superuser(database, `REVOKE TEMPORARY, CREATE ON DATABASE "${database}" FROM PUBLIC`);
    expect(await refusal(migrate(cluster.ownerUrl(database)))).toMatch(/may not create a schema in this database$/);
    await superuser(database, `CREATE SCHEMA taskbridge AUTHORIZATION taskbridge_owner`);
    expect(await migrate(cluster.ownerUrl(database))).toEqual({ applied: shipped });
  });

  it('by the app role is refused', async () => {
    const database = await newDatabase();
    await migrate(cluster.ownerUrl(database));
    expect(await refusal(migrate(cluster.appUrl(database)))).toBe(
      'MIGRATION_DATABASE_URL: taskbridge_app does not own the schema taskbridge',
    );
  });

  it('that fails leaves nothing of itself, and all that was before it', async () => {
    const database = await newDatabase();
    const directory = await directoryWith({
      [next]: '-- oldest-build: 1\nCREATE TABLE taskbridge.proj_half (id int);\nSELECT 1 / 0;\n',
    });
    expect(await refusal(migrate(cluster.ownerUrl(database), { directory }))).toBe(`${next}: division by zero (22012)`);
    const tables = await connected(cluster.ownerUrl(database), (client) =>
      client.query(
        `SELECT to_regclass('taskbridge.proj_half') AS half, to_regclass('taskbridge.events')::text AS events`,
      ),
    );
    expect(tables.rows).toEqual([{ half: null, events: 'taskbridge.events' }]);
    expect(await migrate(cluster.ownerUrl(database))).toEqual({ applied: [] });
  });

  it('that was changed after it was applied is refused by name', async () => {
    const url = cluster.ownerUrl(await newDatabase());
    await migrate(url, { directory: await directoryWith({ [next]: '-- oldest-build: 1\nSELECT 1;\n' }) });
    const changed = await directoryWith({ [next]: '-- oldest-build: 1\nSELECT 2;\n' });
    expect(await refusal(migrate(url, { directory: changed }))).toBe(
      `${next}: was changed after it was applied; restore it and write a new migration`,
    );
    const otherLineEnds = await directoryWith({ [next]: '-- oldest-build: 1\r\nSELECT 1;\r\n' });
    expect(await migrate(url, { directory: otherLineEnds })).toEqual({ applied: [] });
  });

  it('that creates something outside a named schema fails', async () => {
    const url = cluster.ownerUrl(await newDatabase());
    const directory = await directoryWith({ [next]: '-- oldest-build: 1\nCREATE TABLE astray (id int);\n' });
    expect(await refusal(migrate(url, { directory }))).toMatch(/^\d{4}_next.sql: permission denied/);
  });

  it.each([
    ['a gap', afterNext, '-- oldest-build: 1\n', /_after_next.sql: number \d+ was expected/],
    ['a number taken twice', '0001_again.sql', '-- oldest-build: 1\n', /number 2 was expected/],
    ['another way of naming', '0002-next.sql', '-- oldest-build: 1\n', /0002-next.sql: is not named NNNN_name.sql/],
    ['no oldest build', next, 'SELECT 1;\n', /_next.sql: the first line is not "-- oldest-build: N"/],
  ])('among files with %s is refused before it connects', async (_what, name, sql, line) => {
    const directory = await directoryWith({ [name]: sql });
    expect(await refusal(migrate('postgres://nobody@127.0.0.1:1/nothing', { directory }))).toMatch(line);
  });

  it('with a gap in what the database has is refused', async () => {
    const database = await newDatabase();
    await migrate(cluster.ownerUrl(database));
    await superuser(database, 'UPDATE taskbridge.schema_migrations SET version = version + 100');
    expect(await refusal(migrate(cluster.ownerUrl(database)))).toMatch(/number 1 is not: there is a gap$/);
  });

  it('of a PostgreSQL that is not there says so without the address', async () => {
    const url = `postgres://owner:hunter2@/taskbridge?host=${encodeURIComponent('/tmp/nobody-here')}`;
    expect(await refusal(migrate(url))).toBe('MIGRATION_DATABASE_URL: PostgreSQL did not answer within 0 s (ENOENT)');
  });
});

describe('a build', () => {
  it('needs the newest migration that is not of the online kind', async () => {
    const needed = (await readMigrations()).filter(({ steps }) => steps === undefined);
    expect(needed.at(-1)?.version).toBe(BUILD_SCHEMA_VERSION);
    const after = (await readMigrations()).slice(BUILD_SCHEMA_VERSION);
    expect(after.map(({ version }) => version)).toEqual(BUILD_ONLINE_VERSIONS);
  });

  it('is content with its own schema, and refuses one that lacks a migration', async () => {
    const database = await newDatabase();
    await connected(cluster.appUrl(database), async (client) => {
      expect(await checkSchema(client)).toMatchObject([
        { rule: 'schema', message: expect.stringContaining('npm run migrate') },
      ]);
    });
    await migrate(cluster.ownerUrl(database));
    await connected(cluster.appUrl(database), async (client) => {
      expect(await checkSchema(client)).toEqual([]);
      expect(await checkSchema(client, shipped.length + 1)).toMatchObject([
        { message: expect.stringMatching(/lacks 1 of the \d+ migrations this build needs: npm run migrate$/) },
      ]);
    });
  });

  it('lives with a newer schema unless a migration says that it needs newer builds', async () => {
    const [database, build] = [await newDatabase(), BUILD_SCHEMA_VERSION];
    const mild = { [next]: `-- oldest-build: ${build}\nSELECT 1;\n` };
    await migrate(cluster.ownerUrl(database), { directory: await directoryWith(mild) });
    await connected(cluster.appUrl(database), async (client) => expect(await checkSchema(client)).toEqual([]));
    const strict = { ...mild, [afterNext]: `-- oldest-build: ${build + 1}\nSELECT 1;\n` };
    await migrate(cluster.ownerUrl(database), { directory: await directoryWith(strict) });
    await connected(cluster.appUrl(database), async (client) => {
      expect(await checkSchema(client)).toEqual([
        {
          rule: 'schema',
          message:
            `DATABASE_URL: migration ${shipped.length + 2} needs build ${build + 1} or newer, this is build ${build}: ` +
            'start a newer release',
        },
      ]);
      expect(await checkSchema(client, build + 1)).toEqual([]);
    });
  });
});

describe('npm run migrate', () => {
  const script = fileURLToPath(new URL('../../dist/migrate.js', import.meta.url));
  const run = (env: Record<string, string>) =>
    new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
      const child = execFile(process.execPath, [script], { env }, (_error, stdout, stderr) => {
        resolve({ code: child.exitCode, stdout, stderr });
      });
    });

  it('prints what it applied, and the second time that there was nothing to do', async () => {
    const env = { MIGRATION_DATABASE_URL: cluster.ownerUrl(await newDatabase()) };
    expect(await run(env)).toEqual({
      code: 0,
      stdout: (await readMigrations())
        .flatMap(({ name, steps = [] }) => [
          ...steps.map((step) => `${name}: begins ${step.name}\n`),
          `applied ${name}\n`,
        ])
        .concat('dropped 6 indexes that only 0.1.0 needs\n')
        .join(''),
      stderr: '',
    });
    expect(await run(env)).toEqual({ code: 0, stdout: 'nothing to do\n', stderr: '' });
  });

  it('ends with 1 and one line, without the URL or its password, when it cannot', async () => {
    const url = 'postgres://owner:hunter2@127.0.0.1:1/taskbridge';
    expect(await run({ MIGRATION_DATABASE_URL: url, BOOT_WAIT_SECONDS: '0' })).toEqual({
      code: 1,
      stdout: '',
      stderr: 'MIGRATION_DATABASE_URL: PostgreSQL did not answer within 0 s (ECONNREFUSED)\n',
    });
    expect(await run({})).toEqual({
      code: 1,
      stdout: '',
      stderr: 'MIGRATION_DATABASE_URL: is required: the connection URL of the role that owns the schema\n',
    });
  });

  it('waits for another one that is under way, and says for whom', async () => {
    const database = await newDatabase();
    await connected(cluster.superuserUrl(database), async (holder) => {
      await holder.query('SELECT pg_advisory_lock(7461736)');
      const lines: string[] = [];
      let released: Promise<unknown> | undefined;
      const waiting = migrate(cluster.ownerUrl(database), {
        log: (line) => {
          lines.push(line);
          released ??= holder.query('SELECT pg_advisory_unlock(7461736)');
        },
      });
      expect((await waiting).applied).toEqual(shipped);
      await released;
      expect(lines[0]).toMatch(/^waits up to 30 s for another migration: the lock is held by pid \d+, role postgres/);
    });
  });

  it('waits no longer than its limit for the holder of its lock, and names that session', async () => {
    const database = await newDatabase();
    await migrate(cluster.ownerUrl(database));
    const url = `${cluster.appUrl(database)}&application_name=stranger`;
    await connected(url, async (thief) => {
      const { rows } = await thief.query<{ pid: number }>(
        'SELECT pg_backend_pid() AS pid FROM pg_advisory_lock(7461736)',
      );
      const line = await refusal(migrate(cluster.ownerUrl(database), { lockSeconds: 1 }));
      expect(line).toBe(
        'MIGRATION_DATABASE_URL: another migration did not end within 1 s: the lock is held by ' +
          `pid ${rows[0]?.pid}, role taskbridge_app, application stranger; run it again when that has ended; ` +
          'when it is no migration, as an administrator: SELECT pg_terminate_backend(pid)',
      );
      // An administrator sees since when, too.
      const seen = await refusal(migrate(cluster.superuserUrl(database), { lockSeconds: 1 }));
      expect(seen).toMatch(/role taskbridge_app, application stranger, connected since \d{4}-\d\d-\d\dT[\d:]+Z;/);
    });
  });
});
