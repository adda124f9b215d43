import { setTimeout as delay } from 'node:timers/promises';
import { isNativeError } from 'node:util/types';
import type { Client } from 'pg';
import { connectionOptions } from '../session-settings.js';
import { connectWithin, NotConnected } from '../connect-within.js';
import { isConnectionFailure, sqlStateOf } from '../database.errors.js';
import { type Migration, readMigrations } from './migration-files.js';
import { layGround } from './migration-groundwork.js';
import { MigrationRefused } from './migration-refused.js';
import { dropOldIndexes } from './old-indexes.js';
import { runOnline } from './online-migration.js';
import { stampRows } from './stamp-rows.js';

export interface MigrateOptions {
  /** Defaults to `migrations/` of this package. */
  readonly directory?: string;
  /** Gets a line for each migration, and for what the operator should know. Defaults to none. */
  readonly log?: (line: string) => void;
  /** How long PostgreSQL may take to answer. Defaults to 0: one try. */
  readonly waitSeconds?: number;
  /** How long this migration waits for another one. Defaults to 30. */
  readonly lockSeconds?: number;
  /** False: stops before the first migration of the online kind. A service of this build can start then. Defaults to true. */
  readonly online?: boolean;
}

/** Any number works, as long as every release uses the same. Advisory locks belong to one database. */
const LOCK = 7_461_736;
const LOCK_SECONDS = 30;
const LOCK_POLL_MS = 100;
/** The limit of one statement. */
const STATEMENT_TIMEOUT_MS = 600_000;
/** A migration that waits for a table also blocks every later session. It fails instead, and can be run again. */
const LOCK_TIMEOUT_MS = 5_000;

/**
 * Brings the schema to this build's version as its owner: forward only, each file in a transaction of its own, so that a
 * failed one leaves nothing. One of the online kind keeps the steps that it has done, and continues in the next run. Two at once
 * are safe: the second waits and finds nothing to do. Throws `MigrationRefused`.
 */
export async function migrate(
  ownerUrl: string,
  options: MigrateOptions = {},
): Promise<{ readonly applied: readonly string[] }> {
  const log = options.log ?? (() => {});
  const migrations = await readMigrations(options.directory);
  const client = await connect(ownerUrl, options.waitSeconds ?? 0);
  try {
    await takeLock(client, options.lockSeconds ?? LOCK_SECONDS, log);
    await client.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await layGround(client, log);
    const applied: string[] = [];
    for (const migration of await pending(client, migrations, log)) {
      if (migration.steps !== undefined && options.online === false) {
        log(`left ${migration.name} for later: it runs while the service serves`);
        return { applied };
      }
      await apply(client, migration, log);
      applied.push(migration.name);
      log(`applied ${migration.name}`);
    }
    await stampRows(client, log);
    await dropOldIndexes(client, log);
    return { applied };
  } catch (error) {
    throw refusal('MIGRATION_DATABASE_URL', error);
  } finally {
    await client.end();
  }
}

/**
 * One migration at a time, those of earlier releases included: they take this lock, and any role may. So the wait has an end, and
 * its message names the session that holds the lock. An administrator can end a session that took it without need.
 */
async function takeLock(client: Client, seconds: number, log: (line: string) => void): Promise<void> {
  const until = performance.now() + seconds * 1000;
  for (let tries = 0; !(await tryLock(client)); tries += 1) {
    if (tries === 0) log(`waits up to ${seconds} s for another migration: ${await holderOf(client)}`);
    if (performance.now() > until) {
      const text = `another migration did not end within ${seconds} s: ${await holderOf(client)}`;
      const hint =
        'run it again when that has ended; when it is no migration, as an administrator: SELECT pg_terminate_backend(pid)';
      throw new MigrationRefused(`MIGRATION_DATABASE_URL: ${text}; ${hint}`);
    }
    await delay(LOCK_POLL_MS);
  }
}

/** A statement that waited for the lock would have a snapshot, and CREATE INDEX CONCURRENTLY waits for every snapshot. */
async function tryLock(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ taken: boolean }>('SELECT pg_try_advisory_lock($1) AS taken', [LOCK]);
  return rows[0]?.taken === true;
}

/** PostgreSQL shows the start time only to roles that may see it. */
async function holderOf(client: Client): Promise<string> {
  const { rows } = await client.query<{ holder: string }>(
    `SELECT concat_ws(', ', 'pid ' || l.pid, 'role ' || a.usename, 'application ' || nullif(a.application_name, ''),
        'connected since ' || to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) AS holder
      FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
      WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = $1 AND l.objsubid = 1
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [LOCK],
  );
  return rows.map(({ holder }) => `the lock is held by ${holder}`).join('; ') || 'the lock was just given back';
}

async function connect(ownerUrl: string, waitSeconds: number): Promise<Client> {
  try {
    return await connectWithin(waitSeconds, {
      ...connectionOptions(ownerUrl),
      application_name: 'taskbridge migrate',
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: STATEMENT_TIMEOUT_MS + 10_000,
    });
  } catch (error) {
    if (!(error instanceof NotConnected)) throw error;
    throw new MigrationRefused(`MIGRATION_DATABASE_URL: ${error.message}`, { cause: error });
  }
}

interface AppliedRow {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
}

async function pending(
  client: Client,
  migrations: readonly Migration[],
  log: (line: string) => void,
): Promise<readonly Migration[]> {
  const { rows } = await client.query<AppliedRow>(
    'SELECT version, name, checksum FROM taskbridge.schema_migrations ORDER BY version',
  );
  rows.forEach(({ version, name }, index) => {
    if (version !== index + 1) {
      throw new MigrationRefused(
        `${name}: is applied in this database, but number ${index + 1} is not: there is a gap`,
      );
    }
    const file = migrations[index];
    if (file !== undefined && file.checksum !== rows[index]?.checksum) {
      throw new MigrationRefused(
        `${file.name}: was changed after it was applied; restore it and write a new migration`,
      );
    }
  });
  if (rows.length > migrations.length) log(`the schema is newer than this build: ${rows.at(-1)?.name}`);
  return migrations.slice(rows.length);
}

async function apply(client: Client, migration: Migration, log: (line: string) => void): Promise<void> {
  const { version, name, sql, checksum, oldestBuild, steps } = migration;
  try {
    if (steps !== undefined) await runOnline(client, { version, name, steps }, log);
    await client.query('BEGIN');
    if (steps === undefined) await client.query(sql);
    await client.query(
      'INSERT INTO taskbridge.schema_migrations (version, name, checksum, oldest_build) VALUES ($1, $2, $3, $4)',
      [version, name, checksum, oldestBuild],
    );
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw refusal(name, error);
  }
}

/** PostgreSQL's words name objects, never a secret. A lost connection's may name an address. Faults of ours stay faults. */
function refusal(subject: string, error: unknown): unknown {
  const state = sqlStateOf(error);
  if (isNativeError(error) && state !== undefined) {
    return new MigrationRefused(`${subject}: ${error.message} (${state})`, { cause: error });
  }
  return isConnectionFailure(error)
    ? new MigrationRefused(`${subject}: the connection to PostgreSQL was lost`, { cause: error })
    : error;
}
