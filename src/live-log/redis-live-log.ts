import { within } from '../deadline.js';
import { randomUUID } from 'node:crypto';
import type { Log } from '../observability/log.js';
import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { Followers } from './followers.js';
import { channelOf } from './hint-channels.js';
import { type HintKind, LiveLog, type LiveLogFollower } from '../tasks/ports/live-log.js';
import { RedisCondition, RedisConnection } from './redis-connection.js';
import { RedisPublisher } from './redis-publisher.js';
import { RedisReader } from './redis-reader.js';

/** How long an open waits for the connection that reads. */
const OPEN_MS = 100;
/** How long a stop waits for the last published events. */
const LAST_WORDS_MS = 500;

/**
 * Carries events and hints between replicas over Redis 6.2 or newer (no Redis Cluster). It has two connections for any number of tasks and
 * subscribers: reading blocks, and a publish behind a blocking read would wait for it. A writer never waits for Redis.
 */
export class RedisLiveLog extends LiveLog {
  readonly #followers = new Followers();
  readonly #publisher: RedisPublisher;
  readonly #reader: RedisReader;
  readonly #connections: readonly RedisConnection[];

  constructor(url: string, log: Log) {
    super();
    const condition = new RedisCondition(log);
    const origin = randomUUID();
    this.#publisher = new RedisPublisher(origin);
    this.#reader = new RedisReader(origin, this.#followers);
    const uses = [this.#publisher, this.#reader];
    this.#connections = uses.map((use) => new RedisConnection(url, use, condition));
  }

  override publish(events: readonly StoredEvent[]): void {
    this.#followers.receive(events);
    this.#publisher.publish(events);
  }

  override follow(follower: LiveLogFollower): void {
    this.#followers.add(follower);
  }

  /** The stream brings all tasks and channels, so one that reads is open for each of them. */
  override async opened(_taskId?: string): Promise<void> {
    if (!this.#reader.isReading) await within(OPEN_MS, this.#reader.begun());
  }

  override hint(kind: HintKind, key: string): void {
    const channel = channelOf(kind, key);
    this.#followers.hints.tell(channel);
    this.#publisher.hint(channel);
  }

  override async listen(kind: HintKind, key: string, heard: () => void): Promise<() => void> {
    const end = this.#followers.hints.listen(channelOf(kind, key), heard);
    await this.opened();
    return end;
  }

  override hearsOthers(): boolean {
    return this.#reader.isReading;
  }

  override async start(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.start()));
  }

  override async stop(): Promise<void> {
    await within(LAST_WORDS_MS, this.#publisher.settled());
    await Promise.all(this.#connections.map((connection) => connection.stop()));
  }
}
