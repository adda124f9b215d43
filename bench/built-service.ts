import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { eventually } from '../test/support/service.js';
import { WORKER_TOKEN } from '../test/support/worker-client.js';

export interface BuiltService {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface BuiltOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Folder for V8's CPU profiles; undefined for none. */
  readonly profiles?: string | undefined;
}

const ENV = {
  PORT: '0',
  EXECUTOR: 'inline,worker',
  WORKER_TOKENS: WORKER_TOKEN,
  DEMO_TASKS: 'false',
  STREAMS_PER_PRINCIPAL: '0',
  LEASE_SECONDS: '3600',
};

/** The service of a `dist` folder, started as by `npm start` beside it, with remote workers. Its log is a file in `folder`. */
export async function startBuilt(
  build: string,
  folder: string,
  { env, profiles }: BuiltOptions,
): Promise<BuiltService> {
  // A file and not a pipe: reading the log would be work for the process that measures.
  const logFile = join(folder, 'log');
  const log = await open(logFile, 'w');
  const profiling = profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profiles}`];
  const child = spawn(process.execPath, [...profiling, ...(await startArguments(build))], {
    cwd: dirname(build),
    env: { PATH: process.env['PATH'], ...ENV, ...env },
    stdio: ['ignore', log.fd, log.fd],
  });
  const stop = async () => {
    await ended(child);
    await log.close();
  };
  try {
    const url = await eventually('the service listens', () => listeningUrl(logFile), 30_000);
    return { url, pid: child.pid ?? 0, stop };
  } catch (error) {
    await stop();
    throw new Error(`${build} does not start:\n${await readFile(logFile, 'utf8')}`, { cause: error });
  }
}

/** What `npm start` gives to node, with the files of this build. */
async function startArguments(build: string): Promise<string[]> {
  const { scripts } = JSON.parse(await readFile(join(build, '../package.json'), 'utf8')) as {
    scripts: { start: string };
  };
  const [, , ...given] = scripts.start.split(' ');
  return given.map((argument) => argument.replace(/^(\.\/)?dist(?=\/)/, build));
}

async function listeningUrl(log: string): Promise<string | undefined> {
  const line = (await readFile(log, 'utf8')).split('\n').find((text) => text.includes('service.listening'));
  return line === undefined ? undefined : (JSON.parse(line) as { url: string }).url;
}

/** The inspector is asked first, so that it writes a profile. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const kill = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await exited;
  clearTimeout(kill);
}
