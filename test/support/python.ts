import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const cacheDirectory = fileURLToPath(new URL('../../.cache', import.meta.url));

/**
 * The Python of an environment in the cache with the packages of a file of requirements, fetched from PyPI the first time. Only its
 * `python -m …` works: the environment was moved to its place.
 *
 * @throws when there is none: a test that needs it fails, and is never skipped
 */
export async function pythonWith(name: string, requirements: string): Promise<string> {
  const place = join(cacheDirectory, name);
  const python = join(place, 'bin/python');
  if (await exists(python)) return python;
  await mkdir(cacheDirectory, { recursive: true });
  const directory = await mkdtemp(join(cacheDirectory, `${name}-`));
  try {
    await run('python3', ['-m', 'venv', directory]);
    const install = [
      '-m',
      'pip',
      'install',
      '--disable-pip-version-check',
      '--no-input',
      '--requirement',
      requirements,
    ];
    await run(join(directory, 'bin/python'), install);
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

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
