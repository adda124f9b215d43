import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { migrateTo } from '../test/support/builds.js';
import { connected } from '../test/support/fold.js';
import { startTestCluster, type TestCluster } from '../test/support/postgres.js';
import { startRedis } from '../test/support/redis.js';
import { startBuilt } from './built-service.js';
import { Contender } from './contender.js';
import { HttpConnection } from './http-connection.js';
import { postmasterPid } from './usage.js';

const DATABASE = 'bench';
const CONNECTIONS = 16;

/** PostgreSQL does this at times of its own choice. A contender has it done for the tables when nothing is measured. */
const SETTINGS = ['autovacuum = off', "checkpoint_timeout = '1d'", "max_wal_size = '8GB'"];

/** What is to be ended, the last first. */
class Endings {
  readonly #steps: (() => unknown)[] = [];

  add(step: () => unknown): void {
    this.#steps.push(step);
  }

  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) await step();
  }
}

/** A PostgreSQL and a Redis, on which one build after the other runs. */
export class Stand {
  /** What ends with one pair. */
  readonly #pair = new Endings();

  private constructor(
    private readonly cluster: TestCluster,
    private readonly postmaster: number,
    private readonly redisUrl: string,
    private readonly endings: Endings,
  ) {}

  static async start(): Promise<Stand> {
    const endings = new Endings();
    try {
      const cluster = await startTestCluster({ durable: true });
      endings.add(() => cluster.stop());
      const redis = await startRedis();
      endings.add(() => redis.stop());
      const url = cluster.superuserUrl('postgres');
      await connected(url, async (db) => {
        for (const setting of SETTINGS) await db.query(`ALTER SYSTEM SET ${setting}`);
        await db.query('SELECT pg_reload_conf()');
      });
      return new Stand(cluster, await postmasterPid(url), redis.url, endings);
    } catch (error) {
      await endings.run();
      throw error;
    }
  }

  /** Another process on an empty database, and the end of the one before: no two behave the same, also of one build. */
  async renew(build: string): Promise<Contender> {
    await this.#pair.run();
    await this.cluster.createDatabase(DATABASE);
    this.#pair.add(() => this.cluster.dropDatabase(DATABASE));
    await migrateTo(build, this.cluster.ownerUrl(DATABASE));
    const admin = new pg.Client({ connectionString: this.cluster.superuserUrl(DATABASE) });
    await admin.connect();
    this.#pair.add(() => admin.end());
    const folder = await mkdtemp(join(tmpdir(), 'taskbridge-bench-'));
    this.#pair.add(() => rm(folder, { recursive: true, force: true }));
    const env = {
      DATABASE_URL: this.cluster.appUrl(DATABASE),
      REDIS_URL: this.redisUrl,
      OPEN_TASKS_PER_PRINCIPAL: '0',
    };
    const service = await startBuilt(build, folder, { env });
    this.#pair.add(() => service.stop());
    const connections: HttpConnection[] = [];
    this.#pair.add(() => connections.forEach((connection) => connection.close()));
    while (connections.length < CONNECTIONS) connections.push(await HttpConnection.open(service.url));
    return new Contender(connections, admin, { service: service.pid, postmaster: this.postmaster });
  }

  async close(): Promise<void> {
    await this.#pair.run();
    await this.endings.run();
  }
}
