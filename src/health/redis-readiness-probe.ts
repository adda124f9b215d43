import type { OnModuleDestroy } from '@nestjs/common';
import { Redis } from 'ioredis';
import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** Less than the second a probe is given. */
const TIMEOUT_MILLISECONDS = 900;

/**
 * On a connection of its own: a PING behind the live log's blocking read would wait for that. Nothing is queued, sent
 * again or connected in the background; a lost connection is made anew by the next check.
 */
export class RedisReadinessProbe extends ReadinessProbe implements OnModuleDestroy {
  private readonly redis: Redis;

  constructor(url: string) {
    super();
    this.redis = new Redis(url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: null,
      connectTimeout: TIMEOUT_MILLISECONDS,
      commandTimeout: TIMEOUT_MILLISECONDS,
      connectionName: 'taskbridge-readiness',
    });
    // Without a listener ioredis writes to the console; what fails is the check, and that says why.
    this.redis.on('error', () => {});
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('redis', async () => {
      if (this.redis.status !== 'ready') await this.redis.connect();
      await this.redis.ping();
    });
  }

  onModuleDestroy(): void {
    this.redis.disconnect();
  }
}
