import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const cacheDirectory = fileURLToPath(new URL('../../.cache', import.meta.url));

/** A program that tests run as it is, and where its own shared libraries are when it is not installed. */
export interface Program {
  readonly binary: string;
  /** The value of LD_LIBRARY_PATH. */
  readonly libraries?: string;
}

export interface DebianProgram {
  /** The file's name, as on the PATH, and of its package in the cache. */
  readonly name: string;
  /** Names the binary to use instead. */
  readonly variable: string;
  readonly packages: readonly string[];
  /** The path below the root of the file system. An installed package has it there. */
  readonly path: string;
}

/**
 * The variable, else the PATH, else Debian's packages, unpacked into the cache with all they depend on and this machine lacks,
 * and not installed: neither root nor an installation is needed.
 *
 * @throws when there is none: a test that needs it fails, and is never skipped
 */
export async function debianProgram(wanted: DebianProgram): Promise<Program> {
  const given = process.env[wanted.variable];
  if (given !== undefined) return { binary: given };
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  for (const binary of [...directories.map((directory) => join(directory, wanted.name)), join('/', wanted.path)]) {
    if (await exists(binary)) return { binary };
  }
  const cached = await inCache(wanted);
  if (cached !== undefined) return cached;
  try {
    await fetchFromDebian(wanted);
  } catch (error) {
    const why = error as { stderr?: string; message?: string };
    throw new Error(
      `This test needs ${wanted.name}: install it, or name its binary in ${wanted.variable}. ` +
        `It cannot be fetched from Debian's packages either: ${why.stderr?.trim() || why.message}`,
    );
  }
  return (await inCache(wanted)) as Program;
}

async function inCache({ name, path }: DebianProgram): Promise<Program | undefined> {
  const root = join(cacheDirectory, name);
  const binary = join(root, path);
  if (!(await exists(binary))) return undefined;
  const libraries = [...(await librariesIn(join(root, 'usr/lib'))), ...(await librariesIn(join(root, 'lib')))];
  return { binary, ...(libraries.length > 0 && { libraries: libraries.join(delimiter) }) };
}

/** Some packages have theirs in a folder below the one of the architecture. */
async function librariesIn(lib: string): Promise<string[]> {
  if (!(await exists(lib))) return [];
  const folders = await readdir(lib, { recursive: true, withFileTypes: true });
  const libraries = folders.filter((entry) => !entry.isDirectory() && /\.so(\.|$)/.test(entry.name));
  return [...new Set(libraries.map(({ parentPath }) => parentPath))];
}

async function fetchFromDebian({ name, packages }: DebianProgram): Promise<void> {
  await mkdir(cacheDirectory, { recursive: true });
  const directory = await mkdtemp(join(cacheDirectory, `${name}-`));
  try {
    await mkdir(join(directory, 'archives/partial'), { recursive: true });
    const download = () =>
      run('apt-get', [
        'install',
        '--download-only',
        '--no-install-recommends',
        '--assume-yes',
        ...['-o', `Dir::Cache::archives=${join(directory, 'archives')}`, '-o', 'Debug::NoLocking=1'],
        ...packages,
      ]);
    // On a fresh machine the lists of packages are empty, and several test files get them at once: apt lets one of them.
    for (let triesLeft = 8; ; triesLeft--) {
      const failed = await download().then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      if (failed === undefined) break;
      if (triesLeft === 0) throw failed.error;
      await run('apt-get', ['update']).catch(() => delay(3_000));
    }
    const archives = (await readdir(join(directory, 'archives'))).filter((file) => file.endsWith('.deb'));
    for (const archive of archives) await run('dpkg', ['-x', join(directory, 'archives', archive), directory]);
    await rm(join(directory, 'archives'), { recursive: true });
    // The first test file provides it: test files run beside each other.
    await rename(directory, join(cacheDirectory, name)).catch((error: unknown) => {
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
