// The linters and generators of packages/api-clients. They have a lockfile of their own, so the service installs without them.
import { execFile, type ExecFileOptions } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { installLocked } from '../test/support/locked-folder.js';

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
export function installApiTools(): Promise<void> {
  return installLocked(folder);
}
