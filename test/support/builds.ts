import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../../', import.meta.url));
const cache = join(root, '.cache/builds');

/** The commit of release 0.1.0. */
export const RELEASE_0_1_0 = '23f1fe583de08c89e4c9c825c838ffc97f3cb1de';

/** A `dist` folder, and its source. */
export interface Build {
  readonly dist: string;
  readonly name: string;
}

/** The build of this checkout. Before the tests it is made anew where the sources are newer. */
export const OUR_DIST = join(root, 'dist');

/** @throws when the sources were changed after `npm run build` */
export async function buildOfWorkingTree(): Promise<Build> {
  const builtAt = await changedAt(join(OUR_DIST, 'main.js'));
  for (const folder of ['src', 'packages/protocol/src', 'packages/handler/src']) {
    for (const file of await readdir(join(root, folder), { recursive: true })) {
      if ((await changedAt(join(root, folder, file))) > builtAt)
        throw new Error(`dist is older than ${folder}: npm run build`);
    }
  }
  return { dist: OUR_DIST, name: 'the working tree' };
}

/** A commit, built below .cache/builds at its first use, or the folder of a build. */
export async function buildOf(base: string): Promise<Build> {
  if (existsSync(join(base, 'main.js'))) return { dist: resolve(base), name: resolve(base) };
  const commit = await run(root, 'git', 'rev-parse', '--verify', '--quiet', '--end-of-options', `${base}^{commit}`)
    .then((line) => line.trim())
    .catch(() => {
      throw new Error(
        `there is no commit and no build ${base} (a shallow clone lacks old commits: git fetch --unshallow)`,
      );
    });
  const folder = join(cache, commit);
  if (!existsSync(folder)) await alone(`${folder}.lock`, async () => !existsSync(folder) && checkOut(commit, folder));
  return { dist: join(folder, 'dist'), name: commit };
}

/** Brings a database to the schema of the build in `dist`. Answers what it printed. */
export async function migrateTo(dist: string, ownerUrl: string): Promise<string> {
  const env = { PATH: process.env['PATH'], MIGRATION_DATABASE_URL: ownerUrl };
  const { stdout } = await promisify(execFile)(process.execPath, [join(dist, 'migrate.js')], {
    cwd: dirname(dist),
    env,
  });
  return stdout;
}

/** Unpacks and builds the commit, with the packages of its own lockfile. */
async function checkOut(commit: string, folder: string): Promise<void> {
  await mkdir(cache, { recursive: true });
  // It has another name until it is whole, so an interrupted build is never used.
  const unfinished = await mkdtemp(`${folder}-`);
  try {
    const archive = `${unfinished}.tar`;
    await run(root, 'git', 'archive', '--output', archive, commit);
    await run(unfinished, 'tar', '-xf', archive);
    await rm(archive);
    const [theirs, ours] = await Promise.all([lockfile(unfinished), lockfile(root)]);
    if (theirs === ours) {
      await run(root, 'cp', '-al', 'node_modules', unfinished);
      await run(unfinished, 'npm', 'run', 'build');
    } else await run(unfinished, 'npm', 'ci');
    await rename(unfinished, folder);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** Test files run beside each other, and one of them builds. The file has the id of the process that does. */
async function alone(lock: string, work: () => Promise<unknown>): Promise<void> {
  await mkdir(cache, { recursive: true });
  for (;;) {
    const file = await open(lock, 'wx').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    if (file) {
      try {
        await file.writeFile(String(process.pid));
        await work();
        return;
      } finally {
        await file.close();
        await rm(lock);
      }
    }
    const holder = Number(await readFile(lock, 'utf8').catch(() => ''));
    // What was killed left its lock.
    if (holder > 0 && !isAlive(holder)) await rm(lock, { force: true });
    await delay(500);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function lockfile(folder: string): Promise<string> {
  return readFile(join(folder, 'package-lock.json'), 'utf8');
}

/** 0 for a missing file. */
function changedAt(path: string): Promise<number> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}

/** What it printed. @throws with its code and stderr */
export async function run(cwd: string, command: string, ...args: string[]): Promise<string> {
  // npm marks its children, so it would mistake a project below this one for this one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));
  const { stdout } = await promisify(execFile)(command, args, { cwd, env, maxBuffer: 64 << 20 });
  return stdout;
}
