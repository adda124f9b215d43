import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { ConnectionQuota } from '../database/connection-quota.js';
import { TransportDiagnosticsSink } from '../observability/transport-diagnostics-sink.js';
import { Rounds } from '../rounds.js';
import { readHeads, type Head } from '../tasks/store/read-events.js';
import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { Channel } from './channel.js';
import { LiveLog, type LiveLogFollower } from '../tasks/ports/live-log.js';

/** How often the heads of all followed tasks are compared with PostgreSQL: the longest delay of a lost last event. */
const HEAD_COMPARISON_MS = 1_000;
/** How long a live event may take from its commit to here before it counts as lost. */
const ON_ITS_WAY_MS = 50;

/** Connections for replays. The bound leaves connections for writers, however many clients catch up. */
const REPLAY_CONNECTIONS = 4;

/**
 * The tasks that have subscribers on this replica. What the live log brings is a hint; the head comparison finds what it lost, so
 * that a live log that is down makes delivery later and nothing else.
 */
@Injectable()
export class Hub implements LiveLogFollower {
  readonly #channels = new Map<string, Channel>();
  readonly #replays: ConnectionQuota;
  readonly #comparisons = new Rounds(
    () => this.compareHeads().catch(() => undefined),
    () => HEAD_COMPARISON_MS,
  );

  constructor(
    private readonly database: Database,
    private readonly liveLog: LiveLog,
    private readonly diagnostics: TransportDiagnosticsSink,
  ) {
    this.#replays = new ConnectionQuota(database, REPLAY_CONNECTIONS);
  }

  start(): void {
    this.liveLog.follow(this);
    this.#comparisons.start();
  }

  stop(): Promise<void> {
    return this.#comparisons.stop();
  }

  /**
   * Joins a task's channel; it is forgotten when its last subscriber leaves. Resolves when live events of the task arrive here, or
   * after 100 ms: what the caller reads from now on has no hole before them. Never rejects.
   */
  async attach(taskId: string): Promise<Channel> {
    let channel = this.#channels.get(taskId);
    if (!channel) this.#channels.set(taskId, (channel = new Channel(taskId, this.#replays)));
    channel.subscribers += 1;
    await this.liveLog.opened(taskId);
    return channel;
  }

  detach(channel: Channel): void {
    channel.subscribers -= 1;
    if (channel.subscribers === 0) this.#channels.delete(channel.taskId);
  }

  follows(taskId: string): boolean {
    return this.#channels.has(taskId);
  }

  receive(events: readonly StoredEvent[]): boolean {
    const moved = new Set<Channel>();
    for (const event of events) {
      const channel = this.#channels.get(event.taskId);
      const receipt = channel?.receive(event) ?? 'repeated';
      if (receipt === 'after a hole') this.diagnostics.holeHealed({ taskId: event.taskId });
      if (channel && receipt !== 'repeated') moved.add(channel);
    }
    for (const channel of moved) channel.announce();
    return moved.size > 0;
  }

  missed(): void {
    this.#comparisons.hurry();
  }

  private async compareHeads(): Promise<void> {
    if (this.#channels.size === 0) return;
    const followed = [...this.#channels.values()];
    for (const channel of followed) channel.age();
    const seen = new Map(followed.map((channel) => [channel.taskId, channel.head]));
    const heads = await readHeads(
      this.database,
      followed.map(({ taskId }) => taskId),
    );
    const there = new Set(heads.map(({ taskId }) => taskId));
    for (const channel of followed) if (!there.has(channel.taskId)) channel.remove();
    for (const { taskId, headEventId } of heads) {
      this.#channels.get(taskId)?.goBackTo(headEventId, seen.get(taskId) ?? 0);
    }
    const isBehind = ({ taskId, headEventId }: Head) => (this.#channels.get(taskId)?.head ?? headEventId) < headEventId;
    if (!heads.some(isBehind)) return;
    // Events of the last moment are still on their way here.
    await delay(ON_ITS_WAY_MS);
    for (const { taskId, headEventId } of heads.filter(isBehind)) {
      this.diagnostics.holeHealed({ taskId });
      this.#channels.get(taskId)?.advanceTo(headEventId);
    }
  }
}
