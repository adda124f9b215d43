import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { type NetworkPostgres, startNetworkPostgres } from '../support/network-postgres.js';
import { withPgBouncer } from '../support/pgbouncer.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, runToExit } from '../support/service.js';

/** No output may have a part of it. */
const PASSWORD = 'hunter2nottobetold';

/** The one line of a service that is refused for its DATABASE_URL. */
async function lineOf(url: string, env: Record<string, string> = {}): Promise<string> {
  const exit = await runToExit({ DATABASE_URL: url, BOOT_WAIT_SECONDS: '0', ...env }, 30_000);
  expect({ code: exit.code, listened: exit.listened }).toEqual({ code: 1, listened: false });
  expect(exit.stdout + exit.stderr).not.toContain(PASSWORD);
  const lines = exit.stderr.trimEnd().split('\n');
  expect(lines).toHaveLength(1);
  return lines[0] ?? '';
}

it('A service is refused for a URL that cannot be read in one way, with a hint that is right', async () => {
  expect(await lineOf(`postgres://app:${PASSWORD}/x@db/taskbridge`)).toBe(
    'DATABASE_URL: accepts a URL that begins with postgres:// or postgresql:// and names one host; in a user or a ' +
      'password a space is written %20, # %23, % %25, / %2F, : %3A, ? %3F and @ %40',
  );
});

describe('A service is refused by a PostgreSQL', () => {
  let postgres: NetworkPostgres;

  beforeAll(async () => {
    postgres = await startNetworkPostgres([
      'host all with_password all scram-sha-256',
      'hostssl all only_tls all trust',
      'host all nobody_knows all trust',
      'host all no_login all trust',
      'host all limited all trust',
      'host all taskbridge_app all trust',
    ]);
    await postgres.asSuperuser(
      'postgres',
      'CREATE ROLE taskbridge_owner LOGIN CREATEROLE',
      'CREATE DATABASE taskbridge OWNER taskbridge_owner',
      'CREATE DATABASE shut ALLOW_CONNECTIONS false',
      'CREATE ROLE only_tls LOGIN',
      'CREATE ROLE no_login NOLOGIN',
      'CREATE ROLE limited LOGIN CONNECTION LIMIT 0',
      `CREATE ROLE with_password LOGIN PASSWORD '${PASSWORD}'`,
    );
    await migrate(postgres.socketUrl('taskbridge_owner', 'taskbridge'));
  }, 120_000);

  afterAll(() => postgres.stop());

  const url = (user: string, database = 'taskbridge', rest = '') =>
    `postgres://${user}@127.0.0.1:${postgres.port}/${database}${rest}`;

  it.each<[string, () => string, RegExp | string]>([
    [
      'with a wrong password',
      () => url(`with_password:${PASSWORD}-and-more`),
      'PostgreSQL refused the login: password authentication failed for user "with_password" (28P01)',
    ],
    [
      'without a password',
      () => url('with_password'),
      'there is no connection to PostgreSQL: PostgreSQL requires a password',
    ],
    [
      'as a role that does not exist',
      () => url('nobody_knows'),
      'PostgreSQL refused the login: role "nobody_knows" does not exist (28000)',
    ],
    [
      'as a role that may not log in',
      () => url('no_login'),
      'PostgreSQL refused the login: role "no_login" is not permitted to log in (28000)',
    ],
    [
      'that lets nobody in from here',
      () => url(`stranger:${PASSWORD}`),
      /^PostgreSQL refused the login: no pg_hba.conf entry for host "127.0.0.1", user "stranger", .* \(28000\)$/,
    ],
    [
      'that lets in over TLS only, and has none',
      () => url('only_tls', 'taskbridge', '?sslmode=require'),
      'there is no connection to PostgreSQL: the server has no TLS, and sslmode asks for it',
    ],
    ['without the database', () => url(`taskbridge_app:${PASSWORD}`, 'nothing'), 'there is no such database (3D000)'],
    [
      'whose database takes no connections',
      () => url('taskbridge_app', 'shut'),
      'there is no connection to PostgreSQL: database "shut" is not currently accepting connections (55000)',
    ],
    [
      'that has too many connections',
      () => url('limited'),
      'PostgreSQL was not ready within 0 s (too many connections for role "limited" (53300))',
    ],
    [
      'that is not at this port',
      () => `postgres://app:${PASSWORD}@127.0.0.1:1/taskbridge`,
      'PostgreSQL did not answer within 0 s (ECONNREFUSED)',
    ],
    [
      'at a host that nobody knows',
      () => `postgres://app:${PASSWORD}@nobody.invalid/taskbridge`,
      /^PostgreSQL did not answer within 0 s \((ENOTFOUND: its host is not known|EAI_AGAIN: its host cannot be looked up)\)$/,
    ],
    [
      'at a socket that is not there',
      () => `postgres://app:${PASSWORD}@/taskbridge?host=%2Ftmp%2Fnobody-here`,
      'PostgreSQL did not answer within 0 s (ENOENT)',
    ],
    [
      'with an sslmode that is none',
      () => url('taskbridge_app', 'taskbridge', '?sslmode=on'),
      /^sslmode accepts disable, /,
    ],
  ])('%s', async (_what, address, words) => {
    const line = await lineOf(address());
    if (typeof words === 'string') expect(line).toBe(`DATABASE_URL: ${words}`);
    else expect(line.replace('DATABASE_URL: ', '')).toMatch(words);
  });

  it.each(['transaction', 'session'] as const)('behind PgBouncer in %s mode', async (mode) => {
    const options = { postgres: postgres.port, role: 'taskbridge_app', mode };
    const behind = (ignored: readonly string[]) =>
      withPgBouncer({ ...options, ignored }, (port) =>
        lineOf(`postgres://taskbridge_app@127.0.0.1:${port}/taskbridge`),
      );
    expect(await behind([])).toMatch(
      /^DATABASE_URL: a pooler in between does not pass on the options of a session: unsupported startup parameter: \w+ \(08P01\); connect to PostgreSQL itself$/,
    );
    const ignored = ['options', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'];
    expect(await behind(ignored)).toMatch(
      /^DATABASE_URL: search_path is not the pinned one, .*; a pooler such as PgBouncer drops the options of a session$/,
    );
  });

  it('that is a standby', async () => {
    await postgres.restart({}, true);
    expect(await lineOf(url('taskbridge_app'))).toBe(
      'DATABASE_URL: this server is a standby, which takes no writes: name the primary',
    );
    await postgres.restart({ hot_standby: 'off' }, true);
    expect(await lineOf(url('taskbridge_app'))).toMatch(
      /^DATABASE_URL: PostgreSQL was not ready within 0 s \(the database system is (not accepting connections|starting up) \(57P03\)\)$/,
    );
    await postgres.restart();
  });

  it('that shuts down, and starts when it is there again', async () => {
    const stays = new pg.Client({ connectionString: postgres.socketUrl('postgres', 'postgres') });
    stays.on('error', () => {});
    await stays.connect();
    await postgres.beginShutdown();
    expect(await lineOf(url('taskbridge_app'))).toBe(
      'DATABASE_URL: PostgreSQL was not ready within 0 s (the database system is shutting down (57P03))',
    );
    await stays.end();
    let returned: Promise<void> | undefined;
    const exit = await runToExit({ DATABASE_URL: url('taskbridge_app') }, 30_000, (child, output) => {
      returned = eventually('it waits', () => output.stdout.includes('boot.waiting_for_postgres'))
        .then(() => postgres.restart())
        .then(() => eventually('it serves', () => output.stdout.includes('service.listening'), 20_000))
        .then(() => void child.kill('SIGTERM'));
    });
    await returned;
    expect(exit).toMatchObject({ code: 0, listened: true });
  }, 60_000);
});

describe('A service waits, within BOOT_WAIT_SECONDS, while PostgreSQL', () => {
  let database: TestDatabase;
  let superuser: pg.Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    superuser = new pg.Client({ connectionString: database.superuserUrl });
    await superuser.connect();
  });

  afterAll(async () => {
    await superuser.end();
    await database.drop();
  });

  /** What the boot guard reads last is in the way of `trouble`, until it is healed. */
  let isTroubled = false;
  const trouble = async (statement: string) => {
    isTroubled = true;
    await superuser.query(`ALTER TABLE taskbridge.schema_migrations RENAME TO applied_migrations;
      CREATE FUNCTION public.trouble() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN ${statement} RETURN true; END $$;
      CREATE VIEW taskbridge.schema_migrations AS
        SELECT version, oldest_build FROM taskbridge.applied_migrations WHERE public.trouble();
      GRANT SELECT ON taskbridge.schema_migrations TO taskbridge_app`);
  };
  const heal = async () => {
    if (!isTroubled) return;
    isTroubled = false;
    await superuser.query(`DROP VIEW taskbridge.schema_migrations; DROP FUNCTION public.trouble();
      ALTER TABLE taskbridge.applied_migrations RENAME TO schema_migrations`);
  };

  afterEach(heal);

  const raised = (state: string, message: string): string => `RAISE '${message}' USING ERRCODE = '${state}';`;
  const words = (state: string, message: string): [string, string] => [raised(state, message), `${message} (${state})`];

  it.each<[string, [statement: string, reason: string]]>([
    [
      'cancels a statement that took too long',
      ['PERFORM pg_sleep(60);', 'canceling statement due to statement timeout (57014)'],
    ],
    ['is out of disk', words('53100', 'could not extend file "base/1/2": No space left on device')],
    ['is out of memory', words('53200', 'out of memory')],
    ['does not give a lock', words('55P03', 'canceling statement due to lock timeout')],
    ['sees a conflict', words('40001', 'could not serialize access')],
    ['ends its sessions', words('57P01', 'terminating connection due to administrator command')],
  ])(
    '%s, and says so in its words',
    async (_what, [statement, reason]) => {
      await trouble(statement);
      expect(await lineOf(database.appUrl)).toBe(`DATABASE_URL: PostgreSQL was not ready within 0 s (${reason})`);
      let healed: Promise<void> | undefined;
      const exit = await runToExit(
        { DATABASE_URL: database.appUrl, BOOT_WAIT_SECONDS: '30' },
        40_000,
        (child, output) => {
          healed = eventually('it waits', () => output.stdout.includes('boot.waiting_for_postgres'))
            .then(heal)
            .then(() => eventually('it serves', () => output.stdout.includes('service.listening'), 20_000))
            .then(() => void child.kill('SIGTERM'));
        },
      );
      await healed;
      const waiting = exit.stdout.split('\n').find((line) => line.includes('boot.waiting_for_postgres')) ?? '{}';
      expect(JSON.parse(waiting)).toMatchObject({ level: 'warn', text: reason });
      expect(exit).toMatchObject({ code: 0, listened: true });
    },
    60_000,
  );

  it('does not, where time does not heal what it says', async () => {
    await trouble(raised('22012', 'division by zero'));
    expect(await lineOf(database.appUrl, { BOOT_WAIT_SECONDS: '30' })).toBe(
      'DATABASE_URL: PostgreSQL cannot be examined: division by zero (22012)',
    );
  });
});
