import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from '@jest/globals';
import { Redis } from 'ioredis';
import type { Pair } from './certificates.js';
import { debianProgram, type Program } from './debian.js';
import { freePort } from './free-port.js';
import { eventually } from './service.js';

const REDIS = {
  name: 'redis-server',
  variable: 'TEST_REDIS_SERVER',
  packages: ['redis-server'],
  path: 'usr/bin/redis-server',
};

/** A real Redis on a loopback port of its own, which it keeps over restarts. */
export interface TestRedis {
  readonly url: string;
  /** One command, such as `cli('CONFIG', 'SET', 'maxmemory', '1mb')`; its reply. */
  cli(command: string, ...args: string[]): Promise<unknown>;
  /** SIGKILL, without a restart. */
  kill(): Promise<void>;
  /** Ends it if it runs, and starts it with its data, or empty. */
  restart(options: { readonly keepData: boolean }): Promise<void>;
  /** SIGSTOP: connections stay and nothing is answered. */
  pause(): void;
  resume(): void;
  /** Ends it for good and removes its directory. */
  stop(): Promise<void>;
}

export interface RedisTls {
  /** The certificate of `localhost`. */
  readonly server: Pair;
  /** The CA that signed it. */
  readonly ca: string;
}

const running = new Set<TestRedis>();

/** @throws when this machine has no Redis and cannot fetch one: a test that needs it fails, and is never skipped */
export async function startRedis(tls?: RedisTls): Promise<TestRedis> {
  const server = await debianProgram(REDIS);
  const directory = await mkdtemp(join(tmpdir(), 'taskbridge-redis-'));
  const port = await freePort();
  const address = {
    host: tls === undefined ? '127.0.0.1' : 'localhost',
    port,
    ...(tls && { tls: { ca: readFileSync(tls.ca) } }),
  };
  const start = () => launch(server, directory, address, tls);
  let child = await start();

  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    // A process that is stopped takes no other signal than these two.
    if (signal !== 'SIGKILL') child.kill('SIGCONT');
    child.kill(signal);
    await exited;
  };
  const redis: TestRedis = {
    url: `${tls === undefined ? 'redis' : 'rediss'}://${address.host}:${port}`,
    cli: (...command) => ask(address, command),
    kill: () => end('SIGKILL'),
    async restart({ keepData }) {
      if (keepData) await ask(address, ['SAVE']);
      await end('SIGKILL');
      if (!keepData) await rm(join(directory, 'dump.rdb'), { force: true });
      child = await start();
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

interface Address {
  readonly host: string;
  readonly port: number;
  readonly tls?: { readonly ca: Buffer };
}

async function launch(
  { binary, libraries }: Program,
  directory: string,
  address: Address,
  tls: RedisTls | undefined,
): Promise<ChildProcess> {
  const options = {
    bind: '127.0.0.1',
    port: tls === undefined ? address.port : 0,
    ...(tls && {
      'tls-port': address.port,
      'tls-cert-file': tls.server.cert,
      'tls-key-file': tls.server.key,
      'tls-ca-cert-file': tls.ca,
      'tls-auth-clients': 'no',
    }),
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
    return (await ask(address, ['PING'])) === 'PONG' && 'answers';
  }).then((outcome) => {
    if (outcome === 'ended') throw new Error(`${binary} does not start:\n${output}`);
  });
  return child;
}

async function ask(address: Address, [command, ...args]: readonly string[]): Promise<unknown> {
  const redis = new Redis({ ...address, lazyConnect: true, retryStrategy: null, commandTimeout: 5_000 });
  redis.on('error', () => {});
  try {
    await redis.connect();
    return await redis.call(command as string, ...args);
  } finally {
    if (redis.status !== 'end') redis.disconnect();
  }
}

afterAll(async () => {
  await Promise.all([...running].map((redis) => redis.stop()));
});
