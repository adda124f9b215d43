import { rmdir } from 'node:fs/promises';
import pg from 'pg';
import { within } from '../../deadline.js';
import { findBinaries, runnableBinaries } from './embedded-binaries.js';
import { awaitDeparture, ensureCluster, postmasterPid } from './embedded-cluster.js';
import {
  claimDirectory,
  prepareDirectory,
  socketDirectory,
  type Claim,
  type EmbeddedDirectory,
} from './embedded-directory.js';
import { asRefusal } from './embedded-postgres-error.js';
import { ServerLog } from './server-log.js';
import { SupervisedProcess } from './supervised-process.js';

export { EmbeddedPostgresError } from './embedded-postgres-error.js';

/** An embedded PostgreSQL, on a unix socket only. It ends within 2 s of this process, however this process ends. */
export interface EmbeddedPostgres {
  /** As `taskbridge_owner`, who owns the database, may create roles and is no superuser: for migrations. */
  readonly ownerUrl: string;
  /** As `taskbridge_app`, whom the migrations create: for the service. */
  readonly appUrl: string;
  readonly pid: number;
  /** Called once, with the reason, when PostgreSQL ends without `stop()`. */
  onExit(listener: (reason: string) => void): void;
  /** Shuts PostgreSQL down and leaves the directory to others. May be called again. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** `DATA_DIR/postgres`, made when it is missing. */
  readonly directory: string;
  /** False risks all data in a crash of the machine, for speed in tests. Defaults to true. */
  readonly durable?: boolean;
  /** Defaults to 60. */
  readonly maxConnections?: number;
  /** The npm package with the binaries. Defaults to the one for this platform. */
  readonly binariesPackage?: string;
}

/** A server without output for this long counts as broken. */
const SILENCE_SECONDS = 20;
/** A server that replays its log after a crash prints that. To stop it midway would restart the replay again and again. */
const RECOVERY_SECONDS = 300;
const IN_RECOVERY = '57P03';

/** @throws EmbeddedPostgresError, whose message is one line for the operator. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const found = await findBinaries(options.binariesPackage ?? `@embedded-postgres/${process.platform}-${process.arch}`);
  let claim: Claim | undefined;
  try {
    const directory = await prepareDirectory(options.directory);
    claim = claimDirectory(directory);
    const binaries = await runnableBinaries(found, directory);
    return await serve(directory, binaries, claim, options);
  } catch (error) {
    claim?.release();
    throw asRefusal(options.directory, error);
  }
}

async function serve(
  directory: EmbeddedDirectory,
  binaries: Awaited<ReturnType<typeof runnableBinaries>>,
  claim: Claim,
  { durable = true, maxConnections = 60 }: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const foreignPid = await awaitDeparture(directory);
  const log = await ServerLog.open(directory.path);
  let server: SupervisedProcess | undefined;
  try {
    const cluster = await ensureCluster(directory, binaries, log, durable);
    const socket = await socketDirectory(directory);
    server = new SupervisedProcess([binaries.postgres, '-D', cluster, ...settings(socket, durable, maxConnections)], {
      user: directory.user,
      output: log.fd,
      // PostgreSQL's own option to learn that a pid in its lock file is no postmaster.
      environment: foreignPid === undefined ? {} : { PG_GRANDPARENT_PID: String(foreignPid) },
    });
    await prepareDatabase(socket, server, log);
    const pid = await postmasterPid(cluster);
    if (pid === undefined) throw await log.failure('PostgreSQL did not stay');
    return running(server, pid, socket, claim);
  } catch (error) {
    await server?.stop();
    throw error;
  } finally {
    await log.close();
  }
}

function settings(socketDirectory: string, durable: boolean, maxConnections: number): string[] {
  const values = {
    listen_addresses: '',
    port: PORT,
    unix_socket_directories: `"${socketDirectory.replaceAll('"', '""')}"`,
    unix_socket_permissions: '0700',
    max_connections: maxConnections,
    shared_buffers: '64MB',
    fsync: durable ? 'on' : 'off',
    full_page_writes: durable ? 'on' : 'off',
    synchronous_commit: 'on',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_destination: 'stderr',
    logging_collector: 'off',
    log_line_prefix: '%m ',
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

const PORT = 5432;

/** Names every part that `pg` would otherwise take from PGPORT or PGSSLMODE. */
function url(role: string, database: string, socket: string): string {
  return `postgresql://${role}@/${database}?host=${encodeURIComponent(socket)}&port=${PORT}&sslmode=disable`;
}

/** Waits for the first connection and, on a new cluster, makes the owner and the database. */
async function prepareDatabase(socket: string, server: SupervisedProcess, log: ServerLog): Promise<void> {
  const client = await connect(url('postgres', 'postgres', socket), server, log);
  client.on('error', () => {});
  try {
    const { rows } = await client.query<{ role: boolean; database: boolean }>(
      `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'taskbridge_owner') AS role,
              EXISTS (SELECT FROM pg_database WHERE datname = 'taskbridge') AS database`,
    );
    if (rows[0]?.role !== true) await client.query('CREATE ROLE taskbridge_owner LOGIN CREATEROLE');
    if (rows[0]?.database !== true) await client.query('CREATE DATABASE taskbridge OWNER taskbridge_owner');
  } catch {
    throw await log.failure('PostgreSQL could not make its owner and database');
  } finally {
    await client.end();
  }
}

async function connect(connectionString: string, server: SupervisedProcess, log: ServerLog): Promise<pg.Client> {
  const start = Date.now();
  for (let patienceSeconds = SILENCE_SECONDS; Date.now() < start + patienceSeconds * 1000; ) {
    const client = new pg.Client({ connectionString, connectionTimeoutMillis: 2000 });
    try {
      await client.connect();
      return client;
    } catch (error) {
      if ((error as { code?: string }).code === IN_RECOVERY) patienceSeconds = RECOVERY_SECONDS;
      await within(20, server.exited);
    }
    if (server.ended) break;
  }
  throw await log.failure('PostgreSQL did not start');
}

function running(server: SupervisedProcess, pid: number, socket: string, claim: Claim): EmbeddedPostgres {
  let stopping = false;
  server.unref();
  void server.exited.then(() => {
    if (server.orphaned) endIfAlive(pid);
  });
  return {
    ownerUrl: url('taskbridge_owner', 'taskbridge', socket),
    appUrl: url('taskbridge_app', 'taskbridge', socket),
    pid,
    onExit(listener) {
      void server.exited.then((reason) => {
        if (!stopping) listener(`PostgreSQL ${reason}`);
      });
    },
    async stop() {
      stopping = true;
      await server.stop();
      await rmdir(socket).catch(() => {});
      claim.release();
    },
  };
}

function endIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGINT');
  } catch {
    // PostgreSQL ended by itself.
  }
}
