import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll } from '@jest/globals';
import type { Exit } from './service.js';

const program = fileURLToPath(new URL('../../packages/worker/test/run.mjs', import.meta.url));
/** The SDK runs on older Nodes than the service: WORKER_NODE=/usr/bin/node runs every worker of the tests on that one. */
const node = process.env['WORKER_NODE'] ?? process.execPath;

export const WORKER_TOKEN = 'a-worker-token-of-32-characters-or-more';
export const WORKER_ENV = { EXECUTOR: 'worker', WORKER_TOKENS: WORKER_TOKEN, DEMO_TASKS: 'false' } as const;

/** A process that runs the handlers of packages/worker/test through the SDK. */
export interface WorkerProcess {
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  readonly exited: Promise<Exit>;
}

const running = new Set<ChildProcess>();

/** Whatever still runs after the last test of the file is killed. */
export function startWorker(options: { readonly url: string } & Readonly<Record<string, unknown>>): WorkerProcess {
  const WORKER_OPTIONS = JSON.stringify({ token: WORKER_TOKEN, ...options });
  const env = { PATH: process.env['PATH'], WORKER_OPTIONS };
  return watched(spawn(node, [program], { env, stdio: ['ignore', 'pipe', 'pipe'] }));
}

export function watched(child: ChildProcess): WorkerProcess {
  const output = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text;
  });
  running.add(child);
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal }) as Exit);
  void exited.then(() => running.delete(child));
  return {
    pid: child.pid ?? 0,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    kill: (signal) => void child.kill(signal),
    exited,
  };
}

afterAll(async () => {
  const exits = [...running].map((child) => once(child, 'exit'));
  // Stopped processes are ended, too.
  for (const child of running) child.kill('SIGKILL');
  await Promise.all(exits);
});
