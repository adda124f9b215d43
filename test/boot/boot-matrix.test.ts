import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { withAppRole } from '../support/app-roles.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { runToExit, startService } from '../support/service.js';

const PASSWORD = 'hunter2-not-to-be-told';
const WORKER_TOKEN = 'short-token-not-to-be-told';
const REFUSED_WITHIN_MS = 5_000;

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.drop());

type Env = Record<string, string>;

/** The settings that production needs, and no others. No server listens at REDIS_URL: Redis may be absent at boot. */
function production(changes: Env = {}): Env {
  return {
    APP_ENV: 'prod',
    HOST: '127.0.0.1',
    REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
    DATABASE_URL: withPassword(database.appUrl),
    REDIS_URL: 'redis://127.0.0.1:1',
    ...changes,
  };
}

/** This cluster does not ask for it. No output may have it. */
function withPassword(url: string): string {
  return url.replace('@/', `:${PASSWORD}@/`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Whether anybody took a connection on the port until `end` settles. */
async function opens(port: number, end: Promise<unknown>): Promise<boolean> {
  let [opened, over] = [false, false];
  void end.finally(() => {
    over = true;
  });
  while (!over) {
    const socket = connect(port, '127.0.0.1');
    opened ||= await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    await delay(20);
  }
  return opened;
}

/** The lines on stderr of a start that was refused as it must be. */
async function refusedLines(env: Env): Promise<readonly string[]> {
  const port = await freePort();
  const run = runToExit({ ...env, PORT: String(port) }, REFUSED_WITHIN_MS);
  const [exit, opened] = await Promise.all([
    run,
    opens(
      port,
      run.catch(() => {}),
    ),
  ]);
  expect({ code: exit.code, opened, listened: exit.listened }).toEqual({ code: 1, opened: false, listened: false });
  expect(exit.stdout + exit.stderr).not.toContain(PASSWORD);
  expect(exit.stdout + exit.stderr).not.toContain(WORKER_TOKEN);
  return exit.stderr.trim().split('\n');
}

async function expectBoots(env: Env): Promise<void> {
  const service = await startService(env);
  const health = await fetch(`${service.url}/health`);
  expect(health.status).toBe(200);
  const { code } = await service.stop();
  expect(code).toBe(0);
}

const PRODUCTION_LIKE = ['prod', 'PROD', ' production ', 'staging'];

describe('a service with all that production needs', () => {
  it.each(PRODUCTION_LIKE)('boots with APP_ENV %j', (name) => expectBoots(production({ APP_ENV: name })));

  it('is alive but not ready without Redis', async () => {
    const service = await startService(production());
    const [health, ready] = await Promise.all([fetch(`${service.url}/health`), fetch(`${service.url}/ready`)]);
    expect([health.status, ready.status]).toEqual([200, 503]);
    await service.stop();
  });
});

describe('a local service', () => {
  it.each(['true', 'false'])('boots on an app role without APP_ENV and Redis, authentication required %s', (required) =>
    expectBoots({ DATABASE_URL: database.appUrl, REQUIRE_AUTHENTICATED_PRINCIPAL: required }),
  );
});

describe('a service is refused', () => {
  it.each(PRODUCTION_LIKE)('with APP_ENV %j and authentication not required', async (name) => {
    const rule = /^REQUIRE_AUTHENTICATED_PRINCIPAL: must be true in production-like environments/;
    const lines = await refusedLines(production({ APP_ENV: name, REQUIRE_AUTHENTICATED_PRINCIPAL: 'false' }));
    expect(lines).toEqual([expect.stringMatching(rule)]);
  });

  it.each(['true', 'false'])('with an APP_ENV that nobody knows, authentication required %s', async (required) => {
    const lines = await refusedLines(production({ APP_ENV: 'porduction', REQUIRE_AUTHENTICATED_PRINCIPAL: required }));
    expect(lines).toEqual([expect.stringMatching(/^APP_ENV: accepts local, test, dev, staging, production or prod$/)]);
  });

  it('with everything wrong that the environment can tell, in one go', async () => {
    const lines = await refusedLines({ APP_ENV: 'prod', LEASE_SECONDS: '30s', WORKER_TOKENS: WORKER_TOKEN });
    expect(lines.map((line) => line.split(':', 1)[0])).toEqual([
      'DATABASE_URL',
      'REDIS_URL',
      'LEASE_SECONDS',
      'WORKER_TOKENS',
      'REQUIRE_AUTHENTICATED_PRINCIPAL',
    ]);
  });

  it.each([
    ['no DATABASE_URL', { DATABASE_URL: '' }, /^DATABASE_URL: is required/],
    ['no REDIS_URL', { REDIS_URL: '  ' }, /^REDIS_URL: is required/],
    ['a DATABASE_URL of another kind', { DATABASE_URL: `mysql://u:${PASSWORD}@db/x` }, /^DATABASE_URL: accepts a URL/],
    ['a boolean that is none', { REQUIRE_AUTHENTICATED_PRINCIPAL: 'yes' }, /^REQUIRE_AUTHENTICATED_PRINCIPAL: accepts/],
  ])('in production with %s', async (_what, changes, rule) => {
    expect(await refusedLines(production(changes as Env))).toEqual([expect.stringMatching(rule)]);
  });

  it('where PostgreSQL does not answer within BOOT_WAIT_SECONDS', async () => {
    const url = `postgres://taskbridge_app:${PASSWORD}@127.0.0.1:1/taskbridge`;
    expect(await refusedLines(production({ DATABASE_URL: url, BOOT_WAIT_SECONDS: '1' }))).toContainEqual(
      'DATABASE_URL: PostgreSQL did not answer within 1 s (ECONNREFUSED)',
    );
  });

  it('by a database that does not exist, at once', async () => {
    const url = withPassword(database.appUrl.replace(/\/\w+\?/, '/nothing_here?'));
    expect(await refusedLines(production({ DATABASE_URL: url }))).toContainEqual(
      'DATABASE_URL: there is no such database (3D000)',
    );
  });

  it('by a role that does not exist, at once', async () => {
    const url = withPassword(database.appUrl.replace('taskbridge_app', 'nobody_knows'));
    expect(await refusedLines(production({ DATABASE_URL: url }))).toContainEqual(
      'DATABASE_URL: PostgreSQL refused the login: role "nobody_knows" does not exist (28000)',
    );
  });

  it('on a schema that lacks a migration', async () => {
    const empty = await createTestDatabase();
    const owner = new pg.Client({ connectionString: empty.ownerUrl });
    await owner.connect();
    await owner.query('DELETE FROM taskbridge.schema_migrations').finally(() => owner.end());
    const lines = await refusedLines(production({ DATABASE_URL: withPassword(empty.appUrl) }));
    expect(lines).toEqual([expect.stringMatching(/^DATABASE_URL: the schema lacks .*: npm run migrate$/)]);
    await empty.drop();
  });

  it('as a superuser, wherever it runs', async () => {
    const url = withPassword(database.superuserUrl);
    const rule = 'DATABASE_URL: the connected role postgres is SUPERUSER: ALTER ROLE postgres NOSUPERUSER';
    expect(await refusedLines(production({ DATABASE_URL: url }))).toEqual([rule]);
    expect(await refusedLines({ DATABASE_URL: url })).toEqual([rule]);
  });

  it('as the owner, wherever it runs', async () => {
    const url = withPassword(database.ownerUrl);
    const rule = /^DATABASE_URL: the connected role taskbridge_owner owns database/;
    expect(await refusedLines(production({ DATABASE_URL: url }))).toContainEqual(expect.stringMatching(rule));
    expect(await refusedLines({ DATABASE_URL: url })).toContainEqual(expect.stringMatching(rule));
  });

  it.each([
    ['BYPASSRLS', 'ALTER ROLE $role BYPASSRLS', /is BYPASSRLS: ALTER ROLE \w+ NOBYPASSRLS$/],
    ['membership in the owner', 'GRANT taskbridge_owner TO $role', /is a member of taskbridge_owner, which owns/],
    [
      'UPDATE on one table',
      'GRANT UPDATE ON taskbridge.events TO $role',
      /has UPDATE on taskbridge.events: REVOKE UPDATE ON taskbridge.events FROM \w+$/,
    ],
    [
      'UPDATE on one column',
      'GRANT UPDATE (type) ON taskbridge.events TO $role',
      /has UPDATE on taskbridge.events: REVOKE UPDATE ON/,
    ],
    [
      'DELETE on one table',
      'GRANT DELETE ON taskbridge.events TO $role',
      /has DELETE on taskbridge.events: REVOKE DELETE ON/,
    ],
    ['TEMP', 'GRANT TEMPORARY ON DATABASE $db TO $role', /has TEMPORARY on database/],
    [
      'CREATE',
      'GRANT CREATE ON SCHEMA taskbridge TO $role',
      /has CREATE on schema taskbridge: REVOKE CREATE ON SCHEMA/,
    ],
    [
      'SET on a parameter',
      'GRANT SET ON PARAMETER fsync TO $role',
      /has SET on parameter fsync: REVOKE SET ON PARAMETER/,
    ],
    [
      'ADMIN OPTION',
      'GRANT $other TO $role WITH ADMIN OPTION',
      /has ADMIN OPTION for the role \w+: REVOKE ADMIN OPTION FOR/,
    ],
    ['synchronous_commit off', 'ALTER ROLE $role SET synchronous_commit = off', /SET synchronous_commit is in force/],
  ])('as an app role plus %s', async (_what, statement, rule) => {
    await withAppRole(database, [statement], async ({ url }) => {
      const lines = await refusedLines(production({ DATABASE_URL: withPassword(url) }));
      expect(lines).toContainEqual(expect.stringMatching(rule));
      expect(lines.every((line) => line.startsWith('DATABASE_URL: '))).toBe(true);
    });
  });

  it('as an app role that lacks a grant', async () => {
    await withAppRole(database, ['REVOKE taskbridge_app FROM $role'], async ({ url }) => {
      const lines = await refusedLines(production({ DATABASE_URL: withPassword(url) }));
      expect(lines).toContainEqual(expect.stringMatching(/lacks USAGE on schema taskbridge$/));
    });
  });
});
