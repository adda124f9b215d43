import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../test/support/postgres.js';
import { startRedis, type TestRedis } from '../test/support/redis.js';
import { startBuilt } from './built-service.js';
import { Child } from './child.js';
import type { Sizes } from './sizes.js';
import { installPeers } from './peers.js';
import { cpuSeconds, familyCpuSeconds, postmasterPid, rssKiB } from './usage.js';

const HOST_MODULE = fileURLToPath(new URL('host-module.mjs', import.meta.url));

/** The service, in a process of its own, with a database and a Redis that nobody else uses. */
export interface Served {
  readonly url: string;
  /** The socket with the commands for host-module.mjs. */
  readonly control: string;
  readonly database: TestDatabase;
  readonly redis: TestRedis;
  cpuSeconds(): Promise<number>;
  rssKiB(): Promise<number>;
}

/** Starts everything that a goal needs, and ends it. */
export class Stage {
  readonly #endings: (() => Promise<unknown>)[] = [];
  #postmaster: number | undefined;

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

  /** A superuser's session. */
  async connection({ superuserUrl }: TestDatabase): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: superuserUrl });
    await client.connect();
    this.atEnd(() => client.end());
    return client;
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

  /** A program of bench/peers, whose packages are installed first where they are not. */
  async peer(program: string): Promise<Child> {
    await installPeers();
    return this.child(`peers/${program}`);
  }

  /** Starts the service as `npm start` does, with Redis, remote workers, and the handlers of host-module.mjs. */
  async service(env: Readonly<Record<string, string>> = {}): Promise<Served> {
    const [served] = (await this.replicas(1, env)) as [Served];
    return served;
  }

  /** Replicas of the service, with one database and one Redis. */
  async replicas(count: number, env: Readonly<Record<string, string>> = {}): Promise<Served[]> {
    const [database, redis] = [await this.database(), await this.redis()];
    const served: Served[] = [];
    while (served.length < count) served.push(await this.replica(database, redis, env));
    return served;
  }

  private async replica(
    database: TestDatabase,
    redis: TestRedis,
    env: Readonly<Record<string, string>>,
  ): Promise<Served> {
    const folder = await this.folder();
    const control = join(folder, 'control');
    const { url, pid, stop } = await startBuilt(this.build, folder, {
      env: {
        DATABASE_URL: database.appUrl,
        REDIS_URL: redis.url,
        INLINE_CONCURRENCY: '10000',
        HOST_MODULE,
        BENCH_CONTROL: control,
        ...env,
      },
      profiles: this.profiles,
    });
    this.atEnd(stop);
    return { url, control, database, redis, cpuSeconds: () => cpuSeconds(pid), rssKiB: () => rssKiB(pid) };
  }

  /** The CPU of PostgreSQL, all databases and processes together. */
  async postgresCpuSeconds({ superuserUrl }: TestDatabase): Promise<number> {
    this.#postmaster ??= await postmasterPid(superuserUrl);
    return familyCpuSeconds(this.#postmaster);
  }

  /** The same, without tasks. */
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
