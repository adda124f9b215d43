import { execFile } from 'node:child_process';
import { chown, mkdtemp, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { RunnableBinaries } from './embedded-binaries.js';
import type { EmbeddedDirectory } from './embedded-directory.js';
import { asRefusal, dataDir, EmbeddedPostgresError, INSTEAD } from './embedded-postgres-error.js';
import type { ServerLog } from './server-log.js';
import { SupervisedProcess } from './supervised-process.js';

/** A service that died leaves a PostgreSQL that ends within 2 s; a loaded machine may need longer. */
const DEPARTURE_SECONDS = 10;

const UNFINISHED = 'cluster.new-';

/** Makes the cluster if there is none. An initdb that dies leaves nothing that could be taken for a cluster. */
export async function ensureCluster(
  directory: EmbeddedDirectory,
  binaries: RunnableBinaries,
  log: ServerLog,
  durable: boolean,
): Promise<string> {
  const cluster = join(directory.path, 'cluster');
  const version = await readIfThere(join(cluster, 'PG_VERSION'));
  if (version === undefined) {
    await initialise(directory, binaries, log, durable, cluster);
    return cluster;
  }
  if (version.trim() !== binaries.majorVersion) {
    throw new EmbeddedPostgresError(
      `${dataDir(directory.path)} holds the data of PostgreSQL ${version.trim()}, this build brings ` +
        `${binaries.majorVersion}: dump it with the build that made it and restore it. ${INSTEAD}`,
    );
  }
  const { uid } = await stat(cluster);
  const runsAs = directory.user?.uid ?? process.getuid?.();
  if (uid !== runsAs) {
    throw new EmbeddedPostgresError(
      `${dataDir(directory.path)} belongs to uid ${uid}, but PostgreSQL would run as uid ${runsAs}: ` +
        `start the service as the user that made it. ${INSTEAD}`,
    );
  }
  return cluster;
}

async function initialise(
  { path, user }: EmbeddedDirectory,
  { initdb }: RunnableBinaries,
  log: ServerLog,
  durable: boolean,
  cluster: string,
): Promise<void> {
  for (const name of await readdir(path)) {
    // Retried, and left if need be: an initdb whose service was killed a moment ago may still write there.
    const removal = { recursive: true, force: true, maxRetries: 5, retryDelay: 100 };
    if (name.startsWith(UNFINISHED)) await rm(join(path, name), removal).catch(() => {});
  }
  // This also refuses, before the work, a directory with other content.
  await rmdir(cluster).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  const unfinished = await mkdtemp(join(path, UNFINISHED));
  try {
    if (user !== undefined) await chown(unfinished, user.uid, user.gid);
    const command = [
      ...[initdb, '-D', unfinished, '--username=postgres', '--auth=trust', '--no-instructions'],
      // The same order and the same case folding on every machine, whatever its locales and ICU are.
      ...['--encoding=UTF8', '--locale-provider=libc', '--locale=C'],
      ...(durable ? [] : ['--no-sync']),
    ];
    const outcome = await new SupervisedProcess(command, { user, output: log.fd }).exited;
    if (outcome !== 'ended with code 0') throw await log.failure('PostgreSQL could not be initialised');
    await rename(unfinished, cluster);
    if (durable) await syncDirectory(path);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true }).catch(() => {});
    throw asRefusal(path, error);
  }
}

/** initdb synced its files; without this a power cut could still take the directory's new name, and all data with it. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}

/**
 * Waits for the PostgreSQL of a service that died. Resolves to the pid in a postmaster.pid that now belongs to some other process
 * (after a reboot, in a new container): PostgreSQL would refuse to start as long as that process lives.
 */
export async function awaitDeparture(directory: EmbeddedDirectory): Promise<number | undefined> {
  const cluster = join(directory.path, 'cluster');
  const until = Date.now() + DEPARTURE_SECONDS * 1000;
  for (;;) {
    const pid = await postmasterPid(cluster);
    if (pid === undefined || !isAlive(pid)) return undefined;
    if (!(await serves(pid, cluster))) return isAlive(pid) ? pid : undefined;
    if (Date.now() > until) {
      throw new EmbeddedPostgresError(
        `another TaskBridge's PostgreSQL (pid ${pid}) already serves ${dataDir(directory.path)}; ` +
          `stop it or choose another DATA_DIR.`,
      );
    }
    await delay(25);
  }
}

export async function postmasterPid(cluster: string): Promise<number | undefined> {
  const pid = Number.parseInt((await readIfThere(join(cluster, 'postmaster.pid'))) ?? '', 10);
  return pid > 0 ? pid : undefined;
}

/** A process that cannot be looked at counts as serving: waiting is safe, a second postmaster is not. */
async function serves(pid: number, cluster: string): Promise<boolean> {
  const command =
    (await readIfThere(`/proc/${pid}/cmdline`)) ??
    (await promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)]).then(
      ({ stdout }) => stdout,
      () => undefined,
    ));
  return command === undefined ? isAlive(pid) : command.includes(cluster);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** A file of `/proc` whose process ends between the opening and the reading fails with ESRCH, not with ENOENT. */
async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
