import type { Redis, RedisOptions } from 'ioredis';

/**
 * What every connection here is: it asks for no more than it is for, so that a user of Redis needs the commands of the live log alone, and
 * neither queues nor sends again. To make a connection anew is for who uses it.
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
    // Which is often no more than "Connection is closed".
    throw trouble ?? error;
  } finally {
    redis.off('error', listen);
  }
  if (trouble !== undefined) throw trouble;
}
