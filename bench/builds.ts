import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const cache = join(root, '.cache/builds');

/** A `dist` folder, and its source. */
export interface Build {
  readonly dist: string;
  readonly name: string;
}

/** @throws when the sources were changed after `npm run build` */
export async function buildOfWorkingTree(): Promise<Build> {
  const dist = join(root, 'dist');
  const builtAt = await changedAt(join(dist, 'main.js'));
  for (const folder of ['src', 'packages/protocol/src', 'packages/handler/src']) {
    for (const file of await readdir(join(root, folder), { recursive: true })) {
      if ((await changedAt(join(root, folder, file))) > builtAt)
        throw new Error(`dist is older than ${folder}: npm run build`);
    }
  }
  return { dist, name: 'the working tree' };
}

/** A commit, built below .cache/builds at its first use, or the folder of a build. */
export async function buildOf(base: string): Promise<Build> {
  if (existsSync(join(base, 'main.js'))) return { dist: resolve(base), name: resolve(base) };
  const commit = await run(root, 'git', 'rev-parse', '--verify', '--quiet', '--end-of-options', `${base}^{commit}`)
    .then((line) => line.trim())
    .catch(() => {
      throw new Error(`there is no commit and no build ${base}`);
    });
  const folder = join(cache, commit);
  if (!existsSync(folder)) await checkOut(commit, folder);
  return { dist: join(folder, 'dist'), name: commit };
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

async function run(cwd: string, command: string, ...args: string[]): Promise<string> {
  // npm marks its children, so it would mistake a project below this one for this one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));
  const { stdout } = await promisify(execFile)(command, args, { cwd, env, maxBuffer: 64 << 20 });
  return stdout;
}
