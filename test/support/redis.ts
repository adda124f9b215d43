import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll } from '@jest/globals';
import { Redis } from 'ioredis';
import { eventually } from './service.js';

const run = promisify(execFile);
const cacheDirectory = fileURLToPath(new URL('../../.cache/redis', import.meta.url));
const DEBIAN_PACKAGES = ['redis-server', 'redis-tools', 'libjemalloc2', 'liblzf1'];

/** A real Redis on a loopback port of its own, which it keeps over restarts. */
export interface TestRedis {
  readonly url: string;
  /** One command, such as `cli('CONFIG', 'SET', 'maxmemory', '1mb')`; its reply. */
  cli(command: string, ...args: string[]): Promise<unknown>;
  /** SIGKILL, without a restart. */
  kill(): Promise<void>;
  /** Ends it if it runs, and starts it with what it had, or empty. */
  restart(options: { readonly keepData: boolean }): Promise<void>;
  /** SIGSTOP: connections stay and nothing is answered. */
  pause(): void;
  resume(): void;
  /** Ends it for good and removes its directory. */
  stop(): Promise<void>;
}

interface Server {
  readonly binary: string;
  readonly libraries?: string;
}

const running = new Set<TestRedis>();

/** @throws when this machine has no Redis and none can be fetched: a test that needs one fails, and is never skipped */
export async function startRedis(): Promise<TestRedis> {
  const server = await findServer();
  const directory = await mkdtemp(join(tmpdir(), 'taskbridge-redis-'));
  const port = await freePort();
  let child = await launch(server, directory, port);

  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    // A process that is stopped takes no other signal than these two.
    if (signal !== 'SIGKILL') child.kill('SIGCONT');
    child.kill(signal);
    await exited;
  };
  const redis: TestRedis = {
    url: `redis://127.0.0.1:${port}`,
    cli: (...command) => ask(port, command),
    kill: () => end('SIGKILL'),
    async restart({ keepData }) {
      if (keepData) await ask(port, ['SAVE']);
      await end('SIGKILL');
      if (!keepData) await rm(join(directory, 'dump.rdb'), { force: true });
      child = await launch(server, directory, port);
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    async stop() {
      running.delete(redis);
      await end('SIGKILL');
      await rm(directory, { recursive: true, force: true });
    },
  };
  running.add(redis);
  return redis;
}

async function launch({ binary, libraries }: Server, directory: string, port: number): Promise<ChildProcess> {
  const options = {
    bind: '127.0.0.1',
    port,
    dir: directory,
    save: '',
    appendonly: 'no',
    'enable-debug-command': 'yes',
  };
  const child = spawn(
    binary,
    Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
    { stdio: ['ignore', 'pipe', 'pipe'], env: libraries === undefined ? {} : { LD_LIBRARY_PATH: libraries } },
  );
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  child.on('error', (error) => (output += error.message));
  await eventually('Redis answers', async () => {
    if (child.exitCode !== null || child.pid === undefined) return 'ended';
    return (await ask(port, ['PING'])) === 'PONG' && 'answers';
  }).then((outcome) => {
    if (outcome === 'ended') throw new Error(`${binary} does not start:\n${output}`);
  });
  return child;
}

async function ask(port: number, [command, ...args]: readonly string[]): Promise<unknown> {
  const redis = new Redis({ host: '127.0.0.1', port, lazyConnect: true, retryStrategy: null, commandTimeout: 5_000 });
  redis.on('error', () => {});
  try {
    await redis.connect();
    return await redis.call(command as string, ...args);
  } finally {
    if (redis.status !== 'end') redis.disconnect();
  }
}

/** `TEST_REDIS_SERVER`, else the PATH, else Debian's packages, unpacked into the cache and not installed. */
async function findServer(): Promise<Server> {
  const given = process.env['TEST_REDIS_SERVER'];
  if (given !== undefined) return { binary: given };
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const binary = join(directory, 'redis-server');
    if (await exists(binary)) return { binary };
  }
  const cached = await inCache();
  if (cached !== undefined) return cached;
  try {
    await fetchFromDebian();
  } catch (error) {
    const why = error as { stderr?: string; message?: string };
    throw new Error(
      'This test needs a Redis: install redis-server, or name its binary in TEST_REDIS_SERVER. ' +
        `It cannot be fetched from Debian's packages either: ${why.stderr?.trim() || why.message}`,
    );
  }
  return (await inCache()) as Server;
}

async function inCache(): Promise<Server | undefined> {
  const binary = join(cacheDirectory, 'usr/bin/redis-server');
  if (!(await exists(binary))) return undefined;
  const lib = join(cacheDirectory, 'usr/lib');
  const architecture = (await readdir(lib)).find((name) => name.endsWith('-linux-gnu')) ?? '';
  return { binary, libraries: join(lib, architecture) };
}

async function fetchFromDebian(): Promise<void> {
  await mkdir(join(cacheDirectory, '..'), { recursive: true });
  const directory = await mkdtemp(`${cacheDirectory}-`);
  try {
    const download = () => run('apt-get', ['download', ...DEBIAN_PACKAGES], { cwd: directory });
    // On a fresh machine the lists of packages are empty.
    await download().catch(async () => {
      await run('apt-get', ['update']);
      await download();
    });
    const packages = (await readdir(directory)).filter((name) => name.endsWith('.deb'));
    for (const name of packages) await run('dpkg', ['-x', join(directory, name), directory]);
    // Whoever comes first provides it: test files run beside each other.
    await rename(directory, cacheDirectory).catch((error: unknown) => {
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

afterAll(async () => {
  await Promise.all([...running].map((redis) => redis.stop()));
});
