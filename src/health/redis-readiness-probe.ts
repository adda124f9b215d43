import type { OnModuleDestroy } from '@nestjs/common';
import { Redis } from 'ioredis';
import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

/** In the namespace of the live log, so that a rule of an ACL that allows one allows the other. */
const NOBODYS_KEY = 'taskbridge:live:readiness';

/** Less than the second a probe is given. */
const TIMEOUT_MILLISECONDS = 900;

/**
 * On a connection of its own: a question behind the live log's blocking read would wait for that. Nothing is queued, sent
 * again or connected in the background; a lost connection is made anew by the next check.
 */
export class RedisReadinessProbe extends ReadinessProbe implements OnModuleDestroy {
  private readonly redis: Redis;
  private trouble: Error | undefined;

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
      disconnectTimeout: 50,
      connectionName: 'taskbridge-readiness',
    });
    // `connect` itself rejects with no more than "Connection is closed".
    this.redis.on('error', (error) => {
      this.trouble = error;
    });
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('redis', async () => {
      this.trouble = undefined;
      try {
        if (this.redis.status !== 'ready') await this.redis.connect();
        // A write that is refused as all others are (read-only, out of memory, no permission), and leaves nothing behind: there is
        // no such stream.
        await this.redis.xadd(NOBODYS_KEY, 'NOMKSTREAM', '*', 'a', 'a');
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
