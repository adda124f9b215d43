import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { connectWithin } from '../../src/database/connect-within.js';
import { connectionOptions } from '../../src/database/session-settings.js';
import { createTestDatabase, isPostgres15, type TestDatabase } from '../support/postgres.js';
import { startService } from '../support/service.js';

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

async function setting(client: pg.Client, name: string): Promise<string> {
  const { rows } = await client.query<{ value: string }>('SELECT current_setting($1) AS value', [name]);
  return rows[0]?.value ?? '';
}

const retentionUrl = () => database.appUrl.replace('taskbridge_app', 'taskbridge_retention');

describe('The PostgreSQL of this run', () => {
  it('is the one that was asked for, and 15 compiles what seems costly unless a session says no', async () => {
    const version = Math.floor(Number(await setting(superuser, 'server_version_num')) / 10_000);
    expect(version).toBe(isPostgres15() ? 15 : 18);
    const { rows } = await superuser.query('SELECT pg_jit_available() AS available');
    if (isPostgres15()) expect([await setting(superuser, 'jit'), rows]).toEqual(['on', [{ available: true }]]);
  });
});

describe('A session', () => {
  it.each([
    ['the service', () => database.appUrl],
    ['npm run migrate', () => database.ownerUrl],
    ['npm run retention', retentionUrl],
  ])('of %s has its statements run as they are, whatever the role and the URL say', async (_whose, url) => {
    const role = /\/\/(\w+)@/.exec(url())?.[1] ?? '';
    const name = /\/(\w+)\?/.exec(url())?.[1] ?? '';
    await superuser.query(`ALTER ROLE ${role} IN DATABASE ${name} SET jit = on`);
    const client = await connectWithin(0, connectionOptions(`${url()}&options=${encodeURIComponent('-c jit=on')}`));
    try {
      expect([await setting(client, 'jit'), await setting(client, 'enable_seqscan')]).toEqual(['off', 'off']);
    } finally {
      await client.end();
      await superuser.query(`ALTER ROLE ${role} IN DATABASE ${name} RESET jit`);
    }
  });
});

// The embedded one cannot compile, so that there is nothing to see.
if (isPostgres15()) {
  describe('No statement is compiled', () => {
    /** What PostgreSQL has said of the plans of this database's statements since `work` began. */
    const plansOf = async (work: () => Promise<unknown>): Promise<string> => {
      const log = join(dirname(await setting(superuser, 'data_directory')), 'postgres.log');
      const before = readFileSync(log, 'utf8').length;
      await work();
      return readFileSync(log, 'utf8').slice(before);
    };

    const runScript = (name: string, env: Record<string, string>) =>
      promisify(execFile)(process.execPath, [fileURLToPath(new URL(`../../dist/${name}`, import.meta.url))], { env });

    beforeAll(async () => {
      const name = /\/(\w+)\?/.exec(database.superuserUrl)?.[1];
      for (const value of ["session_preload_libraries = 'auto_explain'", 'auto_explain.log_min_duration = 0']) {
        await superuser.query(`ALTER DATABASE ${name} SET ${value}`);
      }
    });

    it('though this one would compile them in a session that says nothing', async () => {
      const client = new pg.Client({ connectionString: database.appUrl });
      await client.connect();
      const plans = await plansOf(async () => {
        await client.query('SET enable_seqscan = off');
        await client.query('SELECT count(*) FROM pg_roles r JOIN pg_class c ON c.relowner = r.oid');
      }).finally(() => client.end());
      expect(plans).toMatch(/\bJIT:\s+Functions: \d+/);
    });

    it('when the service boots, migrates and removes tasks', async () => {
      const plans = await plansOf(async () => {
        const service = await startService({ DATABASE_URL: database.appUrl });
        await service.stop();
        await runScript('migrate.js', { MIGRATION_DATABASE_URL: database.ownerUrl });
        await runScript('retention.js', { RETENTION_DATABASE_URL: retentionUrl() });
      });
      for (const seen of ['pg_has_role', 'taskbridge.schema_migrations', 'finished_at']) expect(plans).toContain(seen);
      expect(plans).not.toContain('JIT:');
    });
  });
}
