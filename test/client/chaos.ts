import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ChaosSizes, ChaosVerdict } from './chaos-sizes.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
/** Idle connections of `fetch` are kept for 4 s. */
const LEFT_OPEN_MS = 10_000;

/** Runs stories in a Node process of their own. Fails where it does not end by itself: something was left open then. */
export async function chaosInNode(
  sizes: ChaosSizes,
  say: (verdict: ChaosVerdict) => void = () => {},
  /** The client runs on older Nodes than the service. */
  node: string = process.execPath,
): Promise<readonly ChaosVerdict[]> {
  const child = spawn(
    node,
    [
      '--disable-warning=ExperimentalWarning',
      '--import',
      './test/support/typescript-hooks.js',
      'test/client/chaos-process.ts',
    ],
    {
      cwd: root,
      env: { PATH: process.env['PATH'], CHAOS: JSON.stringify(sizes) },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const verdicts: ChaosVerdict[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('{')) break;
    const verdict = JSON.parse(line) as ChaosVerdict;
    verdicts.push(verdict);
    say(verdict);
  }
  const code = await Promise.race([exited.then(([code]) => code), leftOpen(child)]);
  if (code !== 0) throw new Error(`the process of the clients ended with ${code}`);
  return verdicts;
}

async function leftOpen(child: ChildProcess): Promise<string> {
  await delay(LEFT_OPEN_MS, undefined, { ref: false });
  child.kill('SIGKILL');
  return `a kill: sockets or timers were left open for ${LEFT_OPEN_MS} ms`;
}
