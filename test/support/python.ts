import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const cacheDirectory = fileURLToPath(new URL('../../.cache', import.meta.url));
/** The client and worker for Python. */
export const pythonPackage = fileURLToPath(new URL('../../packages/python', import.meta.url));

/**
 * The Python of an environment in the cache with the packages of files of requirements, fetched from PyPI the first time. Only its
 * `python -m …` works: the environment was moved to its place.
 *
 * @throws when there is none: a test that needs it fails, and is never skipped
 */
export async function pythonWith(name: string, ...requirements: readonly string[]): Promise<string> {
  const texts = await Promise.all(requirements.map((path) => readFile(path)));
  const install = ['-m', 'pip', 'install', '--disable-pip-version-check', '--no-input'];
  const files = requirements.flatMap((path) => ['--requirement', path]);
  return environment(`${name}-${hashOf(texts)}`, (python) => run(python, [...install, ...files]));
}

/** The tools of packages/python: they test it and build it. */
export const pythonTools = (): Promise<string> =>
  pythonWith('python-tools', join(pythonPackage, 'requirements-dev.txt'));

/**
 * A Python that has the wheel of packages/python, as it is built now, and what the wheel needs. With files of requirements it has their
 * packages, too.
 */
export async function pythonWithClient(...requirements: readonly string[]): Promise<string> {
  const tools = await pythonTools();
  const pinned = [join(pythonPackage, 'requirements-dev.txt'), ...requirements];
  const paths = [
    'pyproject.toml',
    ...(await readdir(pythonPackage, { recursive: true })).filter((path) => /^src.*\.py$/.test(path)).sort(),
  ];
  const texts = await Promise.all(
    [...paths.map((path) => join(pythonPackage, path)), ...pinned].map((path) => readFile(path)),
  );
  return environment(`python-client-${hashOf(texts)}`, async (python) => {
    const built = await mkdtemp(join(tmpdir(), 'taskbridge-wheel-'));
    try {
      await run(tools, ['-m', 'build', '--wheel', '--no-isolation', '--outdir', built, pythonPackage]);
      const [wheel = ''] = await readdir(built);
      const files = requirements.flatMap((path) => ['--requirement', path]);
      const install = ['-m', 'pip', 'install', '--disable-pip-version-check', '--no-input'];
      await run(python, [...install, '--constraint', pinned[0] ?? '', ...files, join(built, wheel)]);
    } finally {
      await rm(built, { recursive: true, force: true });
    }
  });
}

/** The Python of an environment in the cache, made the first time. */
async function environment(name: string, install: (python: string) => Promise<unknown>): Promise<string> {
  const place = join(cacheDirectory, name);
  const python = join(place, 'bin/python');
  if (await exists(python)) return python;
  await mkdir(cacheDirectory, { recursive: true });
  const directory = await mkdtemp(join(cacheDirectory, `${name}-`));
  try {
    await run('python3', ['-m', 'venv', directory]);
    await install(join(directory, 'bin/python'));
    // The first test file provides it: test files run beside each other.
    await rename(directory, place).catch((error: unknown) => {
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    });
  } catch (error) {
    const why = error as { stderr?: string; message?: string };
    throw new Error(`This test needs python3 with venv, and packages of PyPI: ${why.stderr?.trim() || why.message}`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return python;
}

const hashOf = (texts: readonly Buffer[]): string =>
  texts
    .reduce((hash, text) => hash.update(text).update('\0'), createHash('sha256'))
    .digest('hex')
    .slice(0, 12);

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
