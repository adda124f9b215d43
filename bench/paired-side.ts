import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startTestCluster } from '../test/support/postgres.js';
import { startRedis } from '../test/support/redis.js';
import { type BuiltService, migrateBuilt, startBuilt } from './built-service.js';
import { HttpConnection } from './http-connection.js';
import { append, claim, complete, create, type Lease } from './requests.js';
import { TEXT } from './text.js';
import { cpuSeconds, familyCpuSeconds } from './usage.js';

export const OPERATIONS = ['create', 'claim', 'append', 'end'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** CPU-seconds. */
export interface Cpu {
  readonly service: number;
  readonly postgres: number;
}

const DATABASE = 'bench';
const CONNECTIONS = 16;
/** Tasks of a claim, and events of an append: alone and a few, in turn. */
const AT_ONCE = [1, 4];
const DEADLINE_MS = 120_000;

/**
 * PostgreSQL does at times of its own choice what is no part of a request. Whatever it does for the tables is done by `tidy`
 * instead, when nothing is measured.
 */
const SETTINGS = ['autovacuum = off', "checkpoint_timeout = '1d'", "max_wal_size = '8GB'"];

/** One build, with a PostgreSQL and a Redis of its own. */
export class PairedSide {
  #service: BuiltService | undefined;
  readonly #connections: HttpConnection[] = [];
  /** What an operation leaves for the next one. */
  readonly #claimed: Lease[] = [];
  readonly #appended: Lease[] = [];

  private constructor(
    private readonly build: string,
    private readonly admin: pg.Client,
    private readonly postmaster: number,
    private readonly env: Readonly<Record<string, string>>,
    private readonly endings: (() => Promise<unknown>)[],
  ) {}

  static async start(build: string): Promise<PairedSide> {
    const endings: (() => Promise<unknown>)[] = [];
    try {
      const cluster = await startTestCluster({ durable: true });
      endings.push(() => cluster.stop());
      const redis = await startRedis();
      endings.push(() => redis.stop());
      await cluster.createDatabase(DATABASE);
      await migrateBuilt(build, cluster.ownerUrl(DATABASE));
      const admin = new pg.Client({ connectionString: cluster.superuserUrl(DATABASE) });
      await admin.connect();
      endings.push(() => admin.end());
      for (const setting of SETTINGS) await admin.query(`ALTER SYSTEM SET ${setting}`);
      const { rows } = await admin.query<{ pid: string }>(
        `SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1) AS pid, pg_reload_conf()`,
      );
      const env = { DATABASE_URL: cluster.appUrl(DATABASE), REDIS_URL: redis.url, OPEN_TASKS_PER_PRINCIPAL: '0' };
      return new PairedSide(build, admin, Number(rows[0]?.pid), env, endings);
    } catch (error) {
      await endAll(endings);
      throw error;
    }
  }

  /** Another process of the service. What V8 makes of the same code differs from process to process. */
  async restart(): Promise<void> {
    await this.leave();
    const folder = await mkdtemp(join(tmpdir(), 'taskbridge-bench-'));
    const service = await startBuilt(this.build, folder, { env: this.env }).catch(async (error: unknown) => {
      await rm(folder, { recursive: true, force: true });
      throw error;
    });
    this.#service = {
      ...service,
      async stop() {
        await service.stop();
        await rm(folder, { recursive: true, force: true });
      },
    };
    for (let n = 0; n < CONNECTIONS; n += 1) this.#connections.push(await HttpConnection.open(service.url));
  }

  async tidy(): Promise<void> {
    await this.admin.query('VACUUM (ANALYZE)');
    await this.admin.query('CHECKPOINT');
  }

  async cpu(): Promise<Cpu> {
    const service = await cpuSeconds(this.#service?.pid ?? 0);
    return { service, postgres: await familyCpuSeconds(this.postmaster) };
  }

  /** So many operations, each on what the one before it in OPERATIONS has left. */
  async work(operation: Operation, count: number): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS;
    let left = count;
    let requests = 0;
    const client = async (connection: HttpConnection) => {
      while (left > 0) {
        if (performance.now() > deadline) throw new Error(`${left} of ${count} are left after ${DEADLINE_MS} ms`);
        const few = AT_ONCE[requests++ % AT_ONCE.length] as number;
        const asked = operation === 'claim' ? Math.min(few, left) : 1;
        left -= asked;
        const done = await this.request(operation, connection, operation === 'claim' ? asked : few);
        left += asked - done;
      }
    };
    await Promise.all(this.#connections.map(client));
  }

  /** @returns how many operations that was */
  private async request(operation: Operation, connection: HttpConnection, few: number): Promise<number> {
    if (operation === 'create') {
      await create(connection);
      return 1;
    }
    if (operation === 'claim') {
      const leases = await claim(connection, few, 0);
      this.#claimed.push(...leases);
      return leases.length;
    }
    const lease = next(operation === 'append' ? this.#claimed : this.#appended);
    if (operation === 'append') {
      await append(
        connection,
        lease,
        1,
        Array.from({ length: few }, () => TEXT),
      );
      this.#appended.push(lease);
    } else await complete(connection, lease);
    return 1;
  }

  private async leave(): Promise<void> {
    for (const connection of this.#connections.splice(0)) connection.close();
    await this.#service?.stop();
    this.#service = undefined;
  }

  async close(): Promise<void> {
    await this.leave();
    await endAll(this.endings);
  }
}

function next(leases: Lease[]): Lease {
  const lease = leases.shift();
  if (!lease) throw new Error('there is no lease left');
  return lease;
}

async function endAll(endings: (() => Promise<unknown>)[]): Promise<void> {
  for (const ending of endings.splice(0).reverse()) await ending();
}
