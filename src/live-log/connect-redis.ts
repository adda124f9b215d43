import type { Redis, RedisOptions } from 'ioredis';

/**
 * The options of every connection. It sends only the commands of the live log, so its user needs no others. It neither queues nor
 * sends again. Its user makes a new connection after a loss.
 */
export const CONNECTION = {
  lazyConnect: true,
  protocol: 2,
  disableClientInfo: true,
  // With INFO, which managed ones do not allow; ioredis prints that it cannot.
  enableReadyCheck: false,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  retryStrategy: null,
  disconnectTimeout: 50,
} as const satisfies RedisOptions;

/** Connects, or rejects with what Redis said: ioredis goes on in database 0 where SELECT is refused. */
export async function connectRedis(redis: Redis): Promise<void> {
  let trouble: Error | undefined;
  const listen = (error: Error) => {
    trouble ??= error;
  };
  redis.on('error', listen);
  try {
    await redis.connect();
  } catch (error) {
    // ioredis often says only "Connection is closed".
    throw trouble ?? error;
  } finally {
    redis.off('error', listen);
  }
  if (trouble !== undefined) throw trouble;
}
