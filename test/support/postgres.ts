import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { postgres15 } from './postgres-15.js';

const TEMPLATE = 'template_taskbridge';
/** The variable with the socket directory of the run's one cluster, for the processes of test files. */
const CLUSTER_VARIABLE = 'TASKBRIDGE_TEST_CLUSTER';

export interface ClusterUrls {
  superuserUrl(database: string): string;
  ownerUrl(database: string): string;
  appUrl(database: string): string;
}

export interface TestCluster extends ClusterUrls {
  /** Where the socket is: the `host` in the URLs. */
  readonly socketDirectory: string;
  /** Owned by `taskbridge_owner`. The template must have no connections. */
  createDatabase(name: string, template?: string): Promise<void>;
  dropDatabase(name: string): Promise<void>;
  /** Ends it as a crash does, and starts it again on the same socket: it recovers from its log. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

export interface TestDatabase {
  readonly superuserUrl: string;
  readonly ownerUrl: string;
  readonly appUrl: string;
  /** Drops the database, and ends the connections that are left. */
  drop(): Promise<void>;
}

export interface ClusterOptions {
  /** False, the default, risks all data in a crash of the machine, for speed. */
  readonly durable?: boolean;
  /** PostgreSQL 15, also where the run is on the embedded one: for Debian's programs, which know no newer server. */
  readonly debians?: boolean;
}

/** Whether this run is on the oldest PostgreSQL that is promised (`npm run test:postgres15`), instead of the embedded one. */
export function isPostgres15(): boolean {
  const version = process.env['TEST_POSTGRES'] ?? '18';
  if (!['15', '18'].includes(version)) throw new Error('TEST_POSTGRES accepts 15 or 18');
  return version === '15';
}

/** A cluster of its own in a fresh directory, which `stop()` removes. */
export async function startTestCluster({
  durable = false,
  debians = isPostgres15(),
}: ClusterOptions = {}): Promise<TestCluster> {
  const directory = await mkdtemp(join(tmpdir(), 'taskbridge-test-'));
  // Run by root, PostgreSQL is uid 65534 and must get in.
  await chmod(directory, 0o711);
  const options = {
    directory: join(directory, 'postgres'),
    durable,
    maxConnections: 200,
    ...(debians && { binariesPackage: await postgres15(join(directory, 'programs')) }),
  };
  const start = () => startEmbeddedPostgres(options);
  let postgres = await start();
  const socketDirectory = new URLSearchParams(postgres.ownerUrl.split('?')[1]).get('host') ?? '';
  const urls = urlsOf(socketDirectory);
  return {
    ...urls,
    socketDirectory,
    createDatabase: (name, template) => createDatabase(urls, name, template),
    dropDatabase: (name) => dropDatabase(urls, name),
    async crash() {
      const ended = new Promise<string>((resolve) => postgres.onExit(resolve));
      // An immediate shutdown, without a checkpoint and without notice to clients.
      process.kill(postgres.pid, 'SIGQUIT');
      await ended;
      await postgres.stop();
      postgres = await start();
    },
    async stop() {
      await postgres.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** For Jest's globalSetup, which may run once per project: one cluster for the run, with the migrated template. */
export async function startSharedCluster(
  migrate: (ownerUrl: string) => Promise<unknown>,
  options?: ClusterOptions,
): Promise<TestCluster> {
  shared.cluster ??= startTestCluster(options).then(async (cluster) => {
    await cluster.createDatabase(TEMPLATE);
    await migrate(cluster.ownerUrl(TEMPLATE));
    // Autovacuum's connection to the template would hold up every clone.
    await asSuperuser(cluster, `ALTER DATABASE ${TEMPLATE} ALLOW_CONNECTIONS false`);
    return cluster;
  });
  const cluster = await shared.cluster;
  process.env[CLUSTER_VARIABLE] = cluster.socketDirectory;
  return cluster;
}

/** Jest's globalTeardown calls this. */
export async function stopSharedCluster(): Promise<void> {
  const cluster = await shared.cluster;
  delete shared.cluster;
  await cluster?.stop();
}

/** Jest loads globalSetup and globalTeardown apart from each other: only the global object is common to both. */
const shared = ((globalThis as { taskbridgeTest?: { cluster?: Promise<TestCluster> } }).taskbridgeTest ??= {});

/** A clone of the migrated template, for one test file. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const socketDirectory = process.env[CLUSTER_VARIABLE];
  if (socketDirectory === undefined) {
    throw new Error(`${CLUSTER_VARIABLE} is not set: startSharedCluster belongs in Jest's globalSetup`);
  }
  const urls = urlsOf(socketDirectory);
  const name = `test_${randomBytes(6).toString('hex')}`;
  await createDatabase(urls, name, TEMPLATE);
  return {
    superuserUrl: urls.superuserUrl(name),
    ownerUrl: urls.ownerUrl(name),
    appUrl: urls.appUrl(name),
    drop: () => dropDatabase(urls, name),
  };
}

function urlsOf(socketDirectory: string): ClusterUrls {
  const url = (role: string) => (database: string) =>
    `postgresql://${role}@/${database}?host=${encodeURIComponent(socketDirectory)}&port=5432&sslmode=disable`;
  return { superuserUrl: url('postgres'), ownerUrl: url('taskbridge_owner'), appUrl: url('taskbridge_app') };
}

async function createDatabase(urls: ClusterUrls, name: string, template = 'template1'): Promise<void> {
  await asSuperuser(
    urls,
    `CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY wal_log OWNER taskbridge_owner`,
    // A clone has neither the owner nor the privileges of its template. This repeats the migration's statements about them.
    ...(template === TEMPLATE ? [`REVOKE TEMPORARY, CREATE ON DATABASE ${name} FROM PUBLIC`] : []),
  );
}

async function dropDatabase(urls: ClusterUrls, name: string): Promise<void> {
  await asSuperuser(urls, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
}

async function asSuperuser(urls: ClusterUrls, ...statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: urls.superuserUrl('postgres') });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
