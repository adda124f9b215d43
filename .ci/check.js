// `npm run check`: every part runs, also after one has failed, and the exit code says whether all passed.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';

const parts = ['format', 'types', 'lint', 'directions', 'unused', 'words', 'package', 'clients', 'console', 'api'];
/** Each part fits in about 1 GB of memory; more than four at a time gains nothing. */
const atATime = Math.min(4, Math.max(2, availableParallelism()));

function run(part) {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const child = spawn('npm', ['run', '--silent', `check:${part}`], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => (output += `${error.message}\n`));
    child.on('close', (code) => {
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${part} (${seconds} s)`);
      if (code !== 0) console.log(output.trimEnd().replace(/^/gm, '       '));
      resolve({ part, passed: code === 0 });
    });
  });
}

const waiting = [...parts];
const results = [];
async function lane() {
  for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) results.push(await run(part));
}
await Promise.all(Array.from({ length: atATime }, lane));

const failed = parts.filter((part) => results.some((result) => result.part === part && !result.passed));
console.log(
  failed.length === 0
    ? 'check: all parts passed'
    : `check: failed: ${failed.join(', ')} (try "npm run format" for format)`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
