import { execFile } from 'node:child_process';
import { chmod, cp, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { EmbeddedDirectory } from './embedded-directory.js';
import { dataDir, EmbeddedPostgresError, oneLine } from './embedded-postgres-error.js';
import type { SystemUser } from './supervised-process.js';

export interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
}

const USE_YOUR_OWN = 'Set DATABASE_URL to a PostgreSQL of your own, or use the compose file.';

export async function findBinaries(packageName: string): Promise<Binaries> {
  if (process.platform === 'win32') {
    throw new EmbeddedPostgresError(`the embedded PostgreSQL does not run on Windows. ${USE_YOUR_OWN}`);
  }
  try {
    return (await import(packageName)) as Binaries;
  } catch (error) {
    throw new EmbeddedPostgresError(
      `the embedded PostgreSQL is not installed for this platform (no package ${packageName}). ${USE_YOUR_OWN}`,
      { cause: error },
    );
  }
}

export type RunnableBinaries = Binaries & { readonly majorVersion: string };

/**
 * The binaries as PostgreSQL's user can run them: in place, else (a checkout under /root, a umask of 077) copied into
 * the directory, which that user reaches. A shared cache in /tmp would be a place to plant binaries that root starts.
 */
export async function runnableBinaries(found: Binaries, directory: EmbeddedDirectory): Promise<RunnableBinaries> {
  const { path, user } = directory;
  if (user !== undefined) await assertReachable(directory, user);
  const inPlace = await majorVersion(found, user);
  if ('version' in inPlace) return { ...found, majorVersion: inPlace.version };
  const onlyOutOfReach = user !== undefined && 'version' in (await majorVersion(found, undefined));
  if (onlyOutOfReach) {
    const copies = await copiesIn(path, found);
    let copied = await majorVersion(copies, user);
    if (!('version' in copied)) {
      await copy(found, copies, path);
      copied = await majorVersion(copies, user);
    }
    if ('version' in copied) return { ...copies, majorVersion: copied.version };
  }
  throw new EmbeddedPostgresError(
    `the PostgreSQL binaries in ${dirname(found.postgres)} do not run here: ${inPlace.reason}. ` +
      `Reinstall with npm ci (install scripts allowed). ${USE_YOUR_OWN}`,
  );
}

async function assertReachable({ path }: EmbeddedDirectory, user: SystemUser): Promise<void> {
  const entered = await run('/bin/sh', ['-c', 'cd -- "$1"', 'sh', path], user);
  if ('output' in entered) return;
  throw new EmbeddedPostgresError(
    entered.code === '2' || entered.code === '1'
      ? `${dataDir(path)} cannot be reached by uid ${user.uid}, as whom PostgreSQL runs because it refuses root. ` +
          `Choose a DATA_DIR outside of it (such as /var/lib/taskbridge), run as another user, or set DATABASE_URL.`
      : `PostgreSQL refuses root, and this process may not start it as uid ${user.uid} (${entered.reason}). ` +
          `Run as another user, or set DATABASE_URL.`,
  );
}

async function majorVersion(
  { postgres }: Binaries,
  user: SystemUser | undefined,
): Promise<{ version: string } | { code: string; reason: string }> {
  const answer = await run(postgres, ['--version'], user);
  return 'output' in answer ? { version: /(\d+)/.exec(answer.output)?.[1] ?? '' } : answer;
}

async function copiesIn(directory: string, { postgres }: Binaries): Promise<Binaries> {
  const manifest = await readFile(join(dirname(postgres), '..', '..', 'package.json'), 'utf8');
  const bin = join(directory, `${COPY}${(JSON.parse(manifest) as { version: string }).version}`, 'bin');
  return { postgres: join(bin, 'postgres'), initdb: join(bin, 'initdb') };
}

async function copy(from: Binaries, to: Binaries, directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name.startsWith(COPY)) await rm(join(directory, name), { recursive: true, force: true });
  }
  const unfinished = await mkdtemp(join(directory, `${COPY}unfinished-`));
  await cp(dirname(dirname(from.postgres)), unfinished, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (source) => !source.endsWith('.a') && !source.endsWith('/pkgconfig'),
  });
  await chmod(unfinished, 0o755);
  for (const entry of await readdir(unfinished, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chmod(join(entry.parentPath, entry.name), 0o755);
  }
  await rename(unfinished, dirname(dirname(to.postgres)));
}

const COPY = 'binaries-';

const execute = promisify(execFile);

async function run(
  command: string,
  parameters: readonly string[],
  user: SystemUser | undefined,
): Promise<{ output: string } | { code: string; reason: string }> {
  try {
    const { stdout } = await execute(command, parameters, { cwd: '/', env: { LC_ALL: 'C' }, timeout: 10_000, ...user });
    return { output: stdout };
  } catch (error) {
    const { code, stderr, message } = error as { code?: string | number; stderr?: string; message: string };
    return { code: String(code), reason: oneLine(stderr === undefined || stderr === '' ? message : stderr) };
  }
}
