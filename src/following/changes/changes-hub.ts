import { Injectable } from '@nestjs/common';
import { ConnectionQuota } from '../../database/connection-quota.js';
import { Database } from '../../database/database.js';
import type { Queryable } from '../../database/queryable.js';
import { Log } from '../../observability/log.js';
import { MetricsSink } from '../../observability/metrics-sink.js';
import { Trouble } from '../../observability/trouble.js';
import { LiveReplicas } from '../../replicas/live-replicas.js';
import { Rounds } from '../../rounds.js';
import { changesChannel, LiveLog } from '../../tasks/ports/live-log.js';
import { TaskPolicies } from '../../tasks/task-policies.js';
import type { TaskView } from '../../tasks/store/read-task-view.js';
import { findChangedOwners, readPresent } from '../../tasks/store/read-changes.js';
import { withWaitingFor } from '../../tasks/waiting-for.js';
import { ChangeChannel } from './change-channel.js';
import type { TaskScope } from '../../tasks/domain/task-scope.js';
import { type Snapshot, snapshotFrom } from './snapshot.js';

const ROUND_MS = 1_000;
/** How often PostgreSQL is asked although every hint arrives: the longest delay of a lost one. */
const SELDOM_MS = 5_000;
/** Connections for pages. The bound leaves connections for writers, however many followers there are. */
const PAGE_CONNECTIONS = 4;

/**
 * The scopes that are followed on this replica. A hint says that tasks of a scope have changed. Because a hint may be lost, one query asks
 * for all scopes together: each second while hints of other replicas may not arrive, else each 5 s.
 */
@Injectable()
export class ChangesHub {
  readonly #channels = new Map<string, ChangeChannel>();
  readonly #pages: ConnectionQuota;
  readonly #rounds = new Rounds(
    () => this.round(),
    () => ROUND_MS,
  );
  readonly #trouble: Trouble;
  /** What the last round saw, and when. */
  #seen:
    | { readonly epoch: string; readonly snapshot: string; readonly base: Snapshot; readonly askedAt: number }
    | undefined;

  constructor(
    private readonly database: Database,
    private readonly liveLog: LiveLog,
    private readonly replicas: LiveReplicas,
    private readonly policies: TaskPolicies,
    private readonly metrics: MetricsSink,
    log: Log,
  ) {
    this.#pages = new ConnectionQuota(database, PAGE_CONNECTIONS);
    this.#trouble = new Trouble(log, 'changes.failed', 'changes.recovered');
  }

  start(): void {
    this.#rounds.start();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  /** Joins the channel of a scope. Resolves when its hints arrive here, or after 100 ms: what is read from now on misses none. */
  async attach(scope: TaskScope): Promise<ChangeChannel> {
    const key = keyOf(scope);
    const channel = this.#channels.get(key) ?? this.opened(key, scope);
    channel.subscribers += 1;
    await channel.hints;
    return channel;
  }

  detach(channel: ChangeChannel): void {
    channel.subscribers -= 1;
    if (channel.subscribers > 0) return;
    this.#channels.delete(keyOf(channel.scope));
    channel.close();
  }

  private opened(key: string, scope: TaskScope): ChangeChannel {
    const hints = this.liveLog.listen(...changesChannel(scope), () => channel.announce());
    const complete = (db: Queryable, views: readonly TaskView[]) => withWaitingFor(db, this.policies, views);
    const channel = new ChangeChannel(scope, hints, this.#pages, this.policies.maxAttemptsOf, complete, this.#failed);
    this.#channels.set(key, channel);
    return channel;
  }

  private async round(): Promise<void> {
    const channels = [...this.#channels.values()];
    if (channels.length === 0) this.#seen = undefined;
    if (channels.length === 0 || !this.isDue()) return;
    try {
      for (const channel of await this.changed(channels)) channel.announce();
      this.#trouble.worked();
    } catch (error) {
      this.#failed();
      this.#trouble.failed(error);
    }
  }

  readonly #failed = (): void => this.metrics.increment('change_reads_failed_total');

  private isDue(): boolean {
    // A release that has no feed gives no hints.
    const allHintsArrive = this.liveLog.hearsOthers() && this.replicas.know('feed');
    if (!allHintsArrive || this.#seen === undefined) return true;
    return performance.now() - this.#seen.askedAt > SELDOM_MS - ROUND_MS / 2;
  }

  /** All of them, in the first round and in a new epoch. Wider scopes than an owner: when anything at all was committed. */
  private async changed(channels: readonly ChangeChannel[]): Promise<readonly ChangeChannel[]> {
    const before = this.#seen;
    const askedAt = performance.now();
    const owners = channels.flatMap((channel) => {
      const { tenantId = '', ownerId } = channel.scope;
      return ownerId === undefined ? [] : [{ tenantId, ownerId, channel }];
    });
    const { epoch, snapshot, at, changed } = before
      ? await findChangedOwners(this.database, owners, { open: before.base.open, from: before.base.xmax })
      : { ...(await readPresent(this.database)), changed: owners };
    this.#seen = { epoch, snapshot, base: snapshotFrom(snapshot, at), askedAt };
    if (before?.epoch !== epoch) return channels;
    const wide = before.snapshot === snapshot ? [] : channels.filter(({ scope }) => scope.ownerId === undefined);
    return [...changed.map(({ channel }) => channel), ...wide];
  }
}

function keyOf(scope: TaskScope): string {
  return changesChannel(scope).join(' ');
}
