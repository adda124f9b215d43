import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Log } from '../observability/log.js';
import { CONNECTION, connectRedis } from './connect-redis.js';

const CONNECT_TIMEOUT_MS = 1_000;
/**
 * The pauses between attempts, from the first to the longest. With the timeouts above it, Redis is in use again within 5 s of its
 * return.
 */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;

export interface RedisUse {
  readonly role: 'publish' | 'follow';
  /** Without a reply for this time the connection counts as dead. */
  readonly replyTimeoutMs: number;
  /** Uses the connection until it is lost, then rejects. Calls `works` after each command that Redis has obeyed. */
  run(redis: Redis, works: () => void): Promise<void>;
}

/**
 * One connection. It is made again when it is lost, silent, or refuses its commands (read-only, out of memory): the next one may
 * reach another server. ioredis would reconnect by itself, but it also queues and sends again. A use that starts from the
 * beginning recovers in one way only.
 */
export class RedisConnection {
  readonly #stopped = new AbortController();
  readonly #tried = Promise.withResolvers<void>();
  #redis: Redis | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(
    private readonly url: string,
    private readonly use: RedisUse,
    private readonly condition: RedisCondition,
  ) {}

  /** Resolves when the first attempt has worked or failed. */
  start(): Promise<void> {
    this.#running = this.keep();
    return this.#tried.promise;
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#redis?.disconnect();
    await this.#running;
  }

  private async keep(): Promise<void> {
    const { role } = this.use;
    let pauseMs = FIRST_PAUSE_MS;
    const works = () => {
      pauseMs = FIRST_PAUSE_MS;
      this.condition.back(role);
      this.#tried.resolve();
    };
    while (!this.#stopped.signal.aborted) {
      const trouble = await this.once(works);
      if (!this.#stopped.signal.aborted) this.condition.lost(role, trouble);
      this.#tried.resolve();
      await delay(pauseMs * (0.5 + Math.random() / 2), undefined, { signal: this.#stopped.signal }).catch(
        () => undefined,
      );
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  /** @returns why it came to an end */
  private async once(works: () => void): Promise<unknown> {
    const redis = new Redis(this.url, {
      ...CONNECTION,
      connectionName: `taskbridge-${this.use.role}`,
      connectTimeout: CONNECT_TIMEOUT_MS,
      commandTimeout: this.use.replyTimeoutMs,
    });
    let trouble: unknown;
    // Without a listener ioredis prints the error. Its rejection often says only "Connection is closed".
    redis.on('error', (error) => {
      trouble ??= error;
    });
    this.#redis = redis;
    try {
      await connectRedis(redis);
      await this.use.run(redis, works);
    } catch (error) {
      trouble ??= error;
    } finally {
      if (redis.status !== 'end') redis.disconnect();
    }
    return trouble;
  }
}

/** Logs once that Redis is lost and once that it is back, for all connections together. */
export class RedisCondition {
  readonly #lost = new Set<string>();

  constructor(private readonly log: Log) {}

  lost(role: string, err: unknown): void {
    if (this.#lost.size === 0) this.log.warn({ role, err }, 'live_log.redis_lost');
    this.#lost.add(role);
  }

  back(role: string): void {
    if (this.#lost.delete(role) && this.#lost.size === 0) this.log.info({}, 'live_log.redis_back');
  }
}
