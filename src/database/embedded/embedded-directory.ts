import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { access, chmod, chown, constants, lstat, mkdir, realpath, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { dataDir, EmbeddedPostgresError, INSTEAD } from './embedded-postgres-error.js';
import type { SystemUser } from './supervised-process.js';

/** `DATA_DIR/postgres`: the cluster, its socket, its log and the lock of the service that runs it. */
export interface EmbeddedDirectory {
  readonly path: string;
  /** PostgreSQL refuses root; absent: it runs as this process does. */
  readonly user: SystemUser | undefined;
}

const NOBODY: SystemUser = { uid: 65534, gid: 65534 };

/** sockaddr_un holds 108 bytes on Linux and 104 on macOS; `/.s.PGSQL.5432` and the final NUL take 15 of them. */
const MAX_SOCKET_DIRECTORY_BYTES = 104 - 15;

export async function prepareDirectory(directory: string): Promise<EmbeddedDirectory> {
  const wanted = resolve(directory);
  const user = process.getuid?.() === 0 ? NOBODY : undefined;
  // Only what this call made: an operator's directory keeps its mode, and is refused if it does not let PostgreSQL in.
  for (const made of await makeDirectories(wanted)) {
    if (user !== undefined) await chmod(made, 0o711);
    else if (made === wanted) await chmod(made, 0o700);
  }
  const path = await realpath(wanted);
  await access(path, constants.W_OK | constants.X_OK);
  return { path, user };
}

/** Node's recursive mkdir never returns where nothing can be made (/proc), and hides that a file system is read-only. */
async function makeDirectories(path: string): Promise<string[]> {
  try {
    return await makeDirectory(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [...(await makeDirectories(dirname(path))), ...(await makeDirectory(path))];
  }
}

async function makeDirectory(path: string): Promise<string[]> {
  try {
    await mkdir(path);
    return [path];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST' && (await stat(path)).isDirectory()) return [];
    throw error;
  }
}

export interface Claim {
  release(): void;
}

/**
 * One service per directory. The lock is SQLite's, thus the kernel's: it ends with this process however it dies, knows
 * no stale pid and holds between containers that share the volume. The pid beside it only serves the message.
 */
export function claimDirectory({ path }: EmbeddedDirectory): Claim {
  const pidFile = join(path, 'service.pid');
  // The timeout lets one of two simultaneous starts win; without it both can meet the other's half-taken lock.
  const lock = new DatabaseSync(join(path, 'service.lock'), { timeout: 200 });
  try {
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    writeFileSync(pidFile, `${process.pid}\n`);
  } catch (error) {
    lock.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    throw new EmbeddedPostgresError(
      `another TaskBridge${holder(pidFile)} already serves ${dataDir(path)}; stop it or choose another DATA_DIR.`,
    );
  }
  return {
    release() {
      if (!lock.isOpen) return;
      rmSync(pidFile, { force: true });
      lock.close();
    },
  };
}

const SQLITE_BUSY = 5;

function holder(pidFile: string): string {
  try {
    const pid = Number.parseInt(readFileSync(pidFile, 'utf8'), 10);
    return pid > 0 ? ` (pid ${pid})` : '';
  } catch {
    return '';
  }
}

export async function socketDirectory({ path, user }: EmbeddedDirectory): Promise<string> {
  const name = `taskbridge-${createHash('sha256').update(path).digest('hex').slice(0, 16)}`;
  const candidates = [join(path, 'socket'), join(tmpdir(), name)];
  const short = candidates.find((candidate) => Buffer.byteLength(candidate) <= MAX_SOCKET_DIRECTORY_BYTES);
  return privateDirectory(short ?? join('/tmp', name), user);
}

/** Another user who makes the predictable directory first could impersonate the database: it must be ours alone. */
async function privateDirectory(path: string, user: SystemUser | undefined): Promise<string> {
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const found = await lstat(path);
  const own = found.uid === process.getuid?.() || found.uid === user?.uid;
  if (!found.isDirectory() || !own || (found.mode & 0o077) !== 0) {
    throw new EmbeddedPostgresError(
      `${path}, the directory for PostgreSQL's socket, is not a directory of this user alone; remove it. ${INSTEAD}`,
    );
  }
  if (user !== undefined && found.uid !== user.uid) await chown(path, user.uid, user.gid);
  return path;
}
