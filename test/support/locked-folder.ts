import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Installs what the lockfile of `folder` names, unless it is there. Such a folder has a lockfile of its own, so the service installs
 * without it. `installing` is called before an installation.
 */
export async function installLocked(folder: string, installing: () => void = () => undefined): Promise<void> {
  const [wanted, there] = await Promise.all([
    readFile(join(folder, 'package-lock.json'), 'utf8').then(versionsIn),
    readFile(join(folder, 'node_modules/.package-lock.json'), 'utf8').then(versionsIn, () => undefined),
  ]);
  if (there === wanted) return;
  installing();
  await promisify(execFile)('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder });
}

/** Leaves optional packages out, because the machine decides which of them are installed. */
function versionsIn(lockfile: string): string {
  const { packages } = JSON.parse(lockfile) as Record<'packages', Record<string, { version: string; optional?: true }>>;
  const needed = Object.entries(packages).filter(([path, { optional }]) => path !== '' && !optional);
  return JSON.stringify(needed.map(([path, { version }]) => `${path} ${version}`).sort());
}
