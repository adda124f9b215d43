import { within } from '../deadline.js';
import { randomUUID } from 'node:crypto';
import type { Log } from '../observability/log.js';
import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { Followers } from './followers.js';
import { LiveLog, type LiveLogFollower } from '../tasks/ports/live-log.js';
import { RedisCondition, RedisConnection } from './redis-connection.js';
import { RedisPublisher } from './redis-publisher.js';
import { RedisReader } from './redis-reader.js';

/** How long a stop waits for the last published events. */
const LAST_WORDS_MS = 500;

/**
 * Carries events between replicas over Redis 6.2 or newer (no Redis Cluster). It has two connections for any number of tasks and
 * subscribers: reading blocks, and a publish behind a blocking read would wait for it. A writer never waits for Redis.
 */
export class RedisLiveLog extends LiveLog {
  readonly #followers = new Followers();
  readonly #publisher: RedisPublisher;
  readonly #connections: readonly RedisConnection[];

  constructor(url: string, log: Log) {
    super();
    const condition = new RedisCondition(log);
    const origin = randomUUID();
    this.#publisher = new RedisPublisher(origin);
    const uses = [this.#publisher, new RedisReader(origin, this.#followers)];
    this.#connections = uses.map((use) => new RedisConnection(url, use, condition));
  }

  override publish(events: readonly StoredEvent[]): void {
    this.#followers.receive(events);
    this.#publisher.publish(events);
  }

  override follow(follower: LiveLogFollower): void {
    this.#followers.add(follower);
  }

  override async start(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.start()));
  }

  override async stop(): Promise<void> {
    await within(LAST_WORDS_MS, this.#publisher.settled());
    await Promise.all(this.#connections.map((connection) => connection.stop()));
  }
}
