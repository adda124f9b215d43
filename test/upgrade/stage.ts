import { dirname } from 'node:path';
import { migrateTo, OUR_DIST } from '../support/builds.js';
import { startTestCluster, type TestCluster } from '../support/postgres.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';
import { release } from './release-0.1.0.js';

const DATABASE = 'rollout';

/** The side of a replica. */
export type Side = 'old' | 'new';

/** One database, one Redis and one directory of attachments, on which replicas of 0.1.0 and of this build run. */
export class Stage {
  private constructor(
    private readonly cluster: TestCluster,
    private readonly redis: TestRedis,
    /** The `dist` folders. */
    private readonly builds: Readonly<Record<Side, string>>,
    private readonly directory: string,
  ) {}

  /** The database has the schema of 0.1.0. */
  static async start(): Promise<Stage> {
    const builds = { old: (await release()).dist, new: OUR_DIST };
    const cluster = await startTestCluster();
    const redis = await startRedis();
    await cluster.createDatabase(DATABASE);
    const stage = new Stage(cluster, redis, builds, await temporaryDirectory());
    await stage.migrate('old');
    return stage;
  }

  async stop(): Promise<void> {
    await this.redis.stop();
    await this.cluster.stop();
  }

  get superuserUrl(): string {
    return this.cluster.superuserUrl(DATABASE);
  }

  get ownerUrl(): string {
    return this.cluster.ownerUrl(DATABASE);
  }

  get appUrl(): string {
    return this.cluster.appUrl(DATABASE);
  }

  migrate(side: Side): Promise<string> {
    return migrateTo(this.builds[side], this.ownerUrl);
  }

  replica(side: Side, env: Record<string, string> = {}): Promise<Service> {
    return startService(
      {
        ...WITH_WORKERS,
        DATABASE_URL: this.appUrl,
        REDIS_URL: this.redis.url,
        DATA_DIR: this.directory,
        // The present release knows follow tokens where it has a key.
        ...(side === 'new' && { FOLLOW_TOKEN_KEYS: '0123456789abcdef0123456789abcdef' }),
        ...env,
      },
      { lifetime: 'file', ...(side === 'old' && { build: dirname(this.builds.old) }) },
    );
  }
}
