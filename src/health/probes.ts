import type { OnModuleDestroy } from '@nestjs/common';
import { Redis } from 'ioredis';
import { CONNECTION, connectRedis } from '../live-log/connect-redis.js';
import { checkReadable, checkWritable } from '../live-log/redis-stream.js';
import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

const PING = { name: 'readiness', text: 'select 1' };
/** Of the probe of Redis: less than the second that a probe may take. */
const TIMEOUT_MILLISECONDS = 900;

/** The probe for hosts that decide readiness elsewhere. */
export class AlwaysReadyProbe extends ReadinessProbe {
  override async checkReadiness(): Promise<Readiness> {
    return { ready: true, details: {} };
  }
}

/** Through the pool, like every request: a pool that has no connection to give is not ready to serve. */
export class PostgresReadinessProbe extends ReadinessProbe {
  constructor(
    private readonly database: { query(statement: typeof PING, values: readonly unknown[]): Promise<unknown> },
  ) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('postgres', () => this.database.query(PING, []));
  }
}

/** Ready when the attachment store answers. `checkHealth` rejects when it does not. */
export class AttachmentsReadinessProbe extends ReadinessProbe {
  constructor(private readonly store: { checkHealth(): Promise<unknown> }) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('attachments', () => this.store.checkHealth());
  }
}

/** Ready when the service can hand out work, whether or not a worker is there. `checkHealth` rejects when it cannot. */
export class ExecutorReadinessProbe extends ReadinessProbe {
  constructor(private readonly executor: { checkHealth(): Promise<unknown> }) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('executor', () => this.executor.checkHealth());
  }
}

/**
 * Sends the same commands as the live log, so Redis is ready when the live log works. It has its own connection, because it would
 * wait behind the live log's blocking read. After a loss the next check connects again.
 */
export class RedisReadinessProbe extends ReadinessProbe implements OnModuleDestroy {
  private readonly redis: Redis;
  private trouble: Error | undefined;

  /** @param url `redis://` or `rediss://` */
  constructor(url: string) {
    super();
    this.redis = new Redis(url, {
      ...CONNECTION,
      connectTimeout: TIMEOUT_MILLISECONDS,
      commandTimeout: TIMEOUT_MILLISECONDS,
      connectionName: 'taskbridge-readiness',
    });
    // Without a listener ioredis prints the error. Its rejection often says only "Connection is closed".
    this.redis.on('error', (error) => {
      this.trouble = error;
    });
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('redis', async () => {
      this.trouble = undefined;
      try {
        if (this.redis.status !== 'ready') await connectRedis(this.redis);
        await Promise.all([checkWritable(this.redis), checkReadable(this.redis)]);
      } catch (error) {
        // A silent connection may never answer, so the next check makes another.
        this.disconnect();
        throw this.trouble ?? error;
      }
    });
  }

  onModuleDestroy(): void {
    this.disconnect();
  }

  private disconnect(): void {
    // ioredis would wait for the end of a connection that is not there.
    if (this.redis.status !== 'wait' && this.redis.status !== 'end') this.redis.disconnect();
  }
}
