import type { OnModuleDestroy } from '@nestjs/common';
import { Redis } from 'ioredis';
import { CONNECTION, connectRedis } from '../live-log/connect-redis.js';
import { checkReadable, checkWritable } from '../live-log/redis-stream.js';
import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Less than the second that a probe may take. */
const TIMEOUT_MILLISECONDS = 900;

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
