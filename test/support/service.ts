import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll } from '@jest/globals';
import { logCatalogue } from './log-catalogue.js';

const repositoryRoot = fileURLToPath(new URL('../../', import.meta.url));

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A real TaskBridge process that listens. */
export interface Service {
  /** The address without a slash at the end. */
  readonly url: string;
  readonly pid: number;
  /** Milliseconds from the spawn to the first 200 of `/health`. */
  readonly readyAfterMs: number;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  readonly exited: Promise<Exit>;
  /** SIGTERM, and the exit it leads to. */
  stop(): Promise<Exit>;
}

export interface StartOptions {
  /** How long until `/health` answers 200. Defaults to 60 000. */
  readonly deadlineMs?: number;
  /** Whether the service has the hooks that spans of libraries need, as with `npm start`. Defaults to false. */
  readonly traced?: boolean;
  /** The folder of another build, whose log has other lines than ours. Defaults to this checkout. */
  readonly build?: string;
  /** `file`: stopped for you after the last test of the file. `test` (the default): the test ends it, or the file fails. */
  readonly lifetime?: 'file' | 'test';
}

interface Running {
  readonly child: ChildProcess;
  readonly lifetime: 'file' | 'test';
  readonly exited: Promise<Exit>;
}

const running = new Set<Running>();
const temporaryDirectories = new Set<string>();
/** Lines of services that are not as docs/log-events.md says: the file fails. */
const strangeLines: string[] = [];

/** Asks again every few milliseconds until the answer is neither undefined nor false; fails with `what` at the deadline. */
export async function eventually<T>(
  what: string,
  ask: () => T | Promise<T>,
  deadlineMs = 30_000,
): Promise<Exclude<T, undefined | false>> {
  const deadline = Date.now() + deadlineMs;
  let failure: unknown;
  for (;;) {
    try {
      const answer = await ask();
      failure = undefined;
      if (answer !== undefined && answer !== false) return answer as Exclude<T, undefined | false>;
    } catch (error) {
      failure = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${deadlineMs} ms: ${what}`, { cause: failure });
    await delay(10);
  }
}

/** Starts `dist/main.js` with nothing in its environment but `env`, on a free port unless `env` names one. */
export async function startService(env: Record<string, string>, options: StartOptions = {}): Promise<Service> {
  const spawnedAt = Date.now();
  const { child, output, exited } = spawnService(env, options.lifetime ?? 'test', options);
  const failed = (why: string) => new Error(`the service ${why}\n${output.stdout}${output.stderr}`);
  const deadlineMs = options.deadlineMs ?? 60_000;
  let exit: Exit | undefined;
  void exited.then((value) => {
    exit = value;
  });
  const url = await eventually(
    'the service answers /health',
    async () => {
      if (exit !== undefined) return null;
      const listening = listeningUrl(output.stdout);
      return listening !== undefined && (await answersHealth(listening)) && listening;
    },
    deadlineMs,
  ).catch((error: unknown) => {
    child.kill('SIGKILL');
    throw Object.assign(failed(`is not ready within ${deadlineMs} ms`), { cause: error });
  });
  if (url === null) throw failed(`exits before it listens: ${JSON.stringify(exit)}`);
  return {
    url,
    pid: child.pid ?? 0,
    readyAfterMs: Date.now() - spawnedAt,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    kill: (signal) => void child.kill(signal),
    exited,
    stop: () => stopChild(child, exited),
  };
}

/** Starts `dist/main.js` in the expectation that it refuses to serve. */
export async function runToExit(
  env: Record<string, string>,
  deadlineMs = 60_000,
  /** What is done to it meanwhile. */
  meanwhile?: (child: ChildProcess, output: { readonly stdout: string }) => void,
): Promise<Exit & { readonly stdout: string; readonly stderr: string; readonly listened: boolean }> {
  const { child, output, exited } = spawnService(env, 'test');
  meanwhile?.(child, output);
  const exit = await within(deadlineMs, exited);
  if (exit === undefined) {
    child.kill('SIGKILL');
    throw new Error(`the service still runs after ${deadlineMs} ms\n${output.stdout}${output.stderr}`);
  }
  await within(1_000, output.closed);
  return { ...exit, stdout: output.stdout, stderr: output.stderr, listened: listeningUrl(output.stdout) !== undefined };
}

/** The default start: no DATABASE_URL, its own PostgreSQL below `dataDirectory`. */
export async function startEmbedded(
  dataDirectory: string,
  env: Record<string, string> = {},
  options: StartOptions = {},
): Promise<Service> {
  return startService({ DATA_DIR: dataDirectory, ...env }, options);
}

/** An empty directory that PostgreSQL's own user can reach; removed after the file. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'taskbridge-'));
  // Run as root, the embedded PostgreSQL drops to another user, whom mkdtemp's 0700 would lock out.
  await chmod(directory, 0o755);
  temporaryDirectories.add(directory);
  return directory;
}

/** Every process that works inside `directory`, which the postmaster and all its children do. */
export async function processesIn(directory: string): Promise<number[]> {
  if (process.platform !== 'linux') return postmasterIn(directory);
  const entries = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    entries.map(async (pid) => {
      const workingDirectory = await readlink(`/proc/${pid}/cwd`).catch(() => '');
      return workingDirectory.startsWith(directory) ? [Number(pid)] : [];
    }),
  );
  return found.flat();
}

async function postmasterIn(directory: string): Promise<number[]> {
  const file = await readFile(join(directory, 'postgres', 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number(file.split('\n')[0]);
  return pid > 0 && isAlive(pid) ? [pid] : [];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function spawnService(
  env: Record<string, string>,
  lifetime: 'file' | 'test',
  { traced = false, build = repositoryRoot }: Pick<StartOptions, 'traced' | 'build'> = {},
) {
  const inherited = Object.fromEntries(
    ['PATH', 'HOME', 'TMPDIR', 'LANG'].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
  const child = spawn(
    process.execPath,
    [...(traced ? ['--import', './dist/telemetry/register.js'] : []), 'dist/main.js'],
    {
      cwd: build,
      env: { ...inherited, PORT: '0', DRAIN_DELAY_SECONDS: '0', SHUTDOWN_GRACE_SECONDS: '15', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const output = { stdout: '', stderr: '', closed: once(child, 'close') };
  let line = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text;
    const lines = (line + text).split('\n');
    line = lines.pop() ?? '';
    if (build === repositoryRoot) for (const whole of lines) judgeLine(whole, env);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text;
  });
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal }) as Exit);
  const entry = { child, lifetime, exited };
  running.add(entry);
  void exited.then(() => running.delete(entry));
  return { child, output, exited };
}

function judgeLine(line: string, env: Record<string, string>): void {
  const withHost = env['HOST_MODULE'] !== undefined;
  // What a host module says past every logger is its own affair.
  if (withHost && !line.includes('"correlation_id"')) return;
  const problem = logCatalogue().problemOf(line, withHost);
  if (problem !== undefined) strangeLines.push(problem);
}

/** The address in the log line `service.listening`. */
function listeningUrl(stdout: string): string | undefined {
  for (const line of stdout.split('\n')) {
    if (!line.includes('service.listening')) continue;
    try {
      const { msg, url } = JSON.parse(line) as { msg?: string; url?: string };
      if (msg === 'service.listening' && url !== undefined) return url.replace(/\/$/, '');
    } catch {
      // Half a line: the rest comes with the next chunk.
    }
  }
  return undefined;
}

async function answersHealth(url: string): Promise<boolean> {
  const response = await fetch(`${url}/health`);
  await response.arrayBuffer();
  return response.status === 200;
}

async function stopChild(child: ChildProcess, exited: Promise<Exit>): Promise<Exit> {
  child.kill('SIGTERM');
  const exit = await within(20_000, exited);
  if (exit !== undefined) return exit;
  child.kill('SIGKILL');
  throw new Error(`process ${child.pid} does not exit within 20 s of SIGTERM`);
}

/** Undefined when the time is up first. */
async function within<T>(ms: number, outcome: Promise<T>): Promise<T | undefined> {
  const timer = new AbortController();
  try {
    return await Promise.race([outcome, delay(ms, undefined, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}

afterAll(async () => {
  const forgotten = [...running].filter(({ lifetime }) => lifetime === 'test');
  for (const { child } of forgotten) child.kill('SIGKILL');
  await Promise.all(forgotten.map(({ exited }) => exited));
  await Promise.all([...running].map(({ child, exited }) => stopChild(child, exited)));
  await Promise.all([...temporaryDirectories].map((directory) => rm(directory, { recursive: true, force: true })));
  temporaryDirectories.clear();
  if (strangeLines.length > 0) throw new Error(`a line of the log ${strangeLines.slice(0, 5).join('\n')}`);
  if (forgotten.length > 0) throw new Error(`${forgotten.length} service process(es) outlived their test`);
}, 60_000);
