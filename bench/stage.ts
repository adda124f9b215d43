import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTestDatabase, type TestDatabase } from '../test/support/postgres.js';
import { startRedis, type TestRedis } from '../test/support/redis.js';
import { eventually } from '../test/support/service.js';
import { WORKER_TOKEN } from '../test/support/worker-client.js';
import { Child } from './child.js';
import type { Sizes } from './sizes.js';
import { cpuSeconds, rssKiB } from './usage.js';

const HOST_MODULE = fileURLToPath(new URL('host-module.mjs', import.meta.url));

/** The service, in a process of its own, with a database and a Redis that nobody else uses. */
export interface Served {
  readonly url: string;
  /** The socket on which host-module.mjs is told what to append. */
  readonly control: string;
  readonly database: TestDatabase;
  readonly redis: TestRedis;
  cpuSeconds(): Promise<number>;
  rssKiB(): Promise<number>;
}

/** Everything that a goal starts, and the end of it. */
export class Stage {
  readonly #endings: (() => Promise<unknown>)[] = [];

  constructor(
    readonly sizes: Sizes,
    /** The folder of the build under test. */
    private readonly build: string,
    /** Folder for V8's CPU profiles of the service; undefined for none. */
    private readonly profiles?: string,
  ) {}

  async database(): Promise<TestDatabase> {
    const database = await createTestDatabase();
    this.atEnd(() => database.drop());
    return database;
  }

  child(program: string): Child {
    const child = Child.start(program);
    this.atEnd(() => child.stop());
    return child;
  }

  /** An empty folder. */
  async folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'taskbridge-bench-'));
    this.atEnd(() => rm(folder, { recursive: true, force: true }));
    return folder;
  }

  async redis(): Promise<TestRedis> {
    const redis = await startRedis();
    this.atEnd(() => redis.stop());
    return redis;
  }

  /** As `npm start` would have it, with Redis, remote workers, and a handler that appends what it is told to. */
  async service(env: Readonly<Record<string, string>> = {}): Promise<Served> {
    const [database, redis, folder] = [await this.database(), await this.redis(), await this.folder()];
    const control = join(folder, 'control');
    // A file and not a pipe: reading the log would be work for the process that measures.
    const log = await open(join(folder, 'log'), 'w');
    const profiling = this.profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${this.profiles}`];
    const child = spawn(process.execPath, [...profiling, ...(await startArguments(this.build))], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env: {
        PATH: process.env['PATH'],
        PORT: '0',
        DATABASE_URL: database.appUrl,
        REDIS_URL: redis.url,
        EXECUTOR: 'inline,worker',
        WORKER_TOKENS: WORKER_TOKEN,
        DEMO_TASKS: 'false',
        STREAMS_PER_PRINCIPAL: '0',
        INLINE_CONCURRENCY: '10000',
        LEASE_SECONDS: '3600',
        HOST_MODULE,
        BENCH_CONTROL: control,
        ...env,
      },
      stdio: ['ignore', log.fd, log.fd],
    });
    this.atEnd(async () => {
      await ended(child);
      await log.close();
    });
    const url = await eventually('the service listens', () => listeningUrl(join(folder, 'log')), 30_000);
    const pid = child.pid ?? 0;
    return { url, control, database, redis, cpuSeconds: () => cpuSeconds(pid), rssKiB: () => rssKiB(pid) };
  }

  /** The same, with nothing on it. */
  another(): Stage {
    return new Stage(this.sizes, this.build, this.profiles);
  }

  private atEnd(ending: () => Promise<unknown>): void {
    this.#endings.push(ending);
  }

  async close(): Promise<void> {
    for (const ending of this.#endings.splice(0).reverse()) await ending();
  }
}

/** What `npm start` gives to node, with the files of this build. */
async function startArguments(build: string): Promise<string[]> {
  const { scripts } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as {
    scripts: { start: string };
  };
  const [, , ...given] = scripts.start.split(' ');
  return given.map((argument) => argument.replace(/^(\.\/)?dist(?=\/)/, build));
}

async function listeningUrl(log: string): Promise<string | undefined> {
  const line = (await readFile(log, 'utf8')).split('\n').find((text) => text.includes('service.listening'));
  return line === undefined ? undefined : (JSON.parse(line) as { url: string }).url;
}

/** Asked first, so that a profile is written. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const kill = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await exited;
  clearTimeout(kill);
}
