// `npm run check:console`: builds the console, with its types, and judges what a browser loads first. Its tools have a lockfile of their own,
// so the service installs without them.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { installLocked } from '../test/support/locked-folder.js';

const cwd = fileURLToPath(new URL('../packages/console/', import.meta.url));

try {
  await installLocked(cwd);
  const { stdout } = await promisify(execFile)('npm', ['run', '--silent', 'check'], { cwd });
  console.log(stdout.trim());
} catch (error) {
  const { stdout = '', stderr = '', message } = error as { stdout?: string; stderr?: string; message: string };
  console.error(`${stdout}${stderr}` || message);
  process.exitCode = 1;
}
