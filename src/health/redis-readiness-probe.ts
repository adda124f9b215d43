import type { OnModuleDestroy } from '@nestjs/common';
import { Redis } from 'ioredis';
import { CONNECTION, connectRedis } from '../delivery/connect-redis.js';
import { checkReadable, checkWritable } from '../delivery/redis-stream.js';
import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Less than the second a probe is given. */
const TIMEOUT_MILLISECONDS = 900;

/**
 * Does what the service's live log does, so that Redis is ready where that works. On a connection of its own: a question behind the live log's
 * blocking read would wait for that. A lost connection is made anew by the next check.
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
    // Without a listener ioredis prints; and what it rejects with is often no more than "Connection is closed".
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
        // A connection that does not answer may never: the next check makes another.
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
