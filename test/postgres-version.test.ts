import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { Client } from '../src/database/client.js';
import { connectionOptions } from '../src/database/connection.js';
import { judgeRole } from '../src/database/role-check.js';
import { createTestDatabase, isPostgres15, type TestDatabase } from './support/postgres.js';
import { eventually, startService } from './support/service.js';

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

describe('the PostgreSQL of this run', () => {
  it('is the one that was asked for, and 15 compiles statements unless a session says no', async () => {
    const version = Math.floor(Number(await setting(superuser, 'server_version_num')) / 10_000);
    expect(version).toBe(isPostgres15() ? 15 : 18);
    if (!isPostgres15()) return;
    expect((await superuser.query('SELECT pg_jit_available() AS jit')).rows).toEqual([{ jit: true }]);
    expect(await setting(superuser, 'jit')).toBe('on');
  });
});
