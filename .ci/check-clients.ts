// `npm run check:clients`: builds the packages for applications, and judges what would be published: its shape, its types, its size.
// Their tools have lockfiles of their own, so the service installs without them.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { installLocked } from '../test/support/locked-folder.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../', import.meta.url));
const env = {
  ...process.env,
  PATH: `${root}packages/client/node_modules/.bin:${root}node_modules/.bin:${process.env['PATH']}`,
};

try {
  for (const name of ['client', 'react', 'ai']) {
    const cwd = `${root}packages/${name}`;
    await installLocked(`${cwd}/`);
    await run('npm', ['run', '--silent', 'build'], { cwd, env });
    await run('npm', ['run', '--silent', 'check'], { cwd, env });
  }
  const { stdout } = await run('npm', ['run', '--silent', 'size'], { cwd: `${root}packages/client`, env });
  console.log(stdout.trim());
} catch (error) {
  const { stdout = '', stderr = '', message } = error as { stdout?: string; stderr?: string; message: string };
  console.error(`${stdout}${stderr}` || message);
  process.exitCode = 1;
}
