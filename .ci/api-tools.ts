// The linters and generators of packages/api-clients. They have a lockfile of their own, so the service installs without them.
import { execFile, type ExecFileOptions } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const folder = fileURLToPath(new URL('../packages/api-clients/', import.meta.url));
/** Nothing here may call home. */
const OFFLINE = { REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true', SCARF_ANALYTICS: 'false' };

/** Runs one of the tools, which are installed first where they are not. Its report is in the error when it fails. */
export async function apiTool(name: string, args: readonly string[]): Promise<void> {
  await installApiTools();
  const options: ExecFileOptions = { cwd: folder, env: { ...process.env, ...OFFLINE } };
  await run(`${folder}node_modules/.bin/${name}`, args, options);
}

/** Installs what the lockfile names, unless it is there. */
export async function installApiTools(): Promise<void> {
  const [wanted, there] = await Promise.all([
    readFile(`${folder}package-lock.json`, 'utf8').then(versionsIn),
    readFile(`${folder}node_modules/.package-lock.json`, 'utf8').then(versionsIn, () => undefined),
  ]);
  if (there !== wanted) await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder });
}

/** Leaves optional packages out, because the machine decides which of them are installed. */
function versionsIn(lockfile: string): string {
  const { packages } = JSON.parse(lockfile) as Record<'packages', Record<string, { version: string; optional?: true }>>;
  const needed = Object.entries(packages).filter(([path, { optional }]) => path !== '' && !optional);
  return JSON.stringify(needed.map(([path, { version }]) => `${path} ${version}`).sort());
}
