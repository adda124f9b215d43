import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
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
export const pythonWith = (name: string, ...requirements: readonly string[]): Promise<string> =>
  packagesFor('python3', name, requirements);

async function packagesFor(base: string, name: string, requirements: readonly string[]): Promise<string> {
  const texts = await Promise.all(requirements.map((path) => readFile(path)));
  const files = requirements.flatMap((path) => ['--requirement', path]);
  return environment(`${name}-${hashOf([Buffer.from(base), ...texts])}`, base, (python) =>
    run(python, ['-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', ...files]),
  );
}

const inPackage = (name: string): string => join(pythonPackage, name);
const TEST_REQUIREMENTS = inPackage('requirements-test.txt');

/** The tools of packages/python: they check it and build it. */
export const pythonTools = (): Promise<string> =>
  pythonWith('python-tools', inPackage('requirements-dev.txt'), TEST_REQUIREMENTS);

/**
 * A Python that has the wheel of packages/python, as it is built now, and pytest. With a file of requirements it has their packages, too.
 * `base`: the interpreter.
 */
export async function pythonWithClient(requirements = TEST_REQUIREMENTS, base = 'python3'): Promise<string> {
  const sources = await readdir(join(pythonPackage, 'src'), { recursive: true });
  const paths = ['pyproject.toml', ...sources.filter((path) => path.endsWith('.py')).map((path) => join('src', path))];
  const texts = await Promise.all([...paths.sort().map(inPackage), requirements].map((path) => readFile(path)));
  const [tools, needs] = await Promise.all([pythonTools(), packagesFor(base, 'python-needs', [requirements])]);
  return environment(`python-client-${hashOf([Buffer.from(base), ...texts])}`, base, async (python) => {
    const built = await mkdtemp(join(tmpdir(), 'taskbridge-wheel-'));
    try {
      await run(tools, ['-m', 'build', '--wheel', '--no-isolation', '--outdir', built, pythonPackage]);
      const [wheel = ''] = await readdir(built);
      const [own, others] = [await sitePackages(python), await sitePackages(needs)];
      // What it needs is installed once for all builds.
      await writeFile(join(own, 'needs.pth'), others);
      await run(python, ['-m', 'zipfile', '-e', join(built, wheel), own]);
    } finally {
      await rm(built, { recursive: true, force: true });
    }
  });
}

const sitePackages = async (python: string): Promise<string> =>
  (await run(python, ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'])).stdout.trim();

/** The versions that packages/python is declared for, as far as this machine has them: on the PATH, or as pyenv keeps them. */
export async function pythonsHere(): Promise<Readonly<Record<string, string>>> {
  const pyenv = join(process.env['PYENV_ROOT'] ?? join(homedir(), '.pyenv'), 'versions');
  const kept = await readdir(pyenv).catch(() => []);
  const found: Record<string, string> = {};
  for (const version of ['3.10', '3.11', '3.12', '3.13']) {
    const ofPyenv = kept
      .filter((name) => name.startsWith(`${version}.`))
      .map((name) => join(pyenv, name, 'bin/python'));
    for (const python of [`python${version}`, ...ofPyenv]) {
      const says = await run(python, ['-c', 'import ensurepip, sys; print(*sys.version_info[:2], sep=".")']).catch(
        () => undefined,
      );
      if (says?.stdout.trim() === version) found[version] ??= python;
    }
  }
  return found;
}

/** The Python of an environment in the cache, made the first time. */
async function environment(name: string, base: string, install: (python: string) => Promise<unknown>): Promise<string> {
  const place = join(cacheDirectory, name);
  const python = join(place, 'bin/python');
  if (await exists(python)) return python;
  await mkdir(cacheDirectory, { recursive: true });
  const directory = await mkdtemp(join(cacheDirectory, `${name}-`));
  try {
    await run(base, ['-m', 'venv', directory]);
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
