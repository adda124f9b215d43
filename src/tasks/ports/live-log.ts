import type { StoredEvent } from '../domain/stored-event.js';

/** Receives events of tasks with subscribers here. The hub is one. */
export interface LiveLogFollower {
  follows(taskId: string): boolean;
  /**
   * Takes events of tasks that it follows, some perhaps again or late. Returns whether any of them is new. Never throws: the
   * caller is answering a write.
   */
  receive(events: readonly StoredEvent[]): boolean;
  /** Events may have been lost: the connection to the other replicas is back, or theirs is. Never throws. */
  missed(): void;
}

/** What a hint is about. `owner`, `tenant`, `all`: the state of tasks. `worker`: what a worker has to fetch. */
export type HintKind = 'owner' | 'tenant' | 'all' | 'worker';

/**
 * Carries committed events to their followers, and hints to their listeners. Both are hints, never the truth: it may lose, repeat
 * and reorder them, and PostgreSQL is asked for what they say. The service publishes after the commit, and never waits for it.
 */
export abstract class LiveLog {
  /** Gives the events to this replica's followers before it returns, and to other replicas' when it can. Never throws. */
  abstract publish(events: readonly StoredEvent[]): void;

  /** From now on `follower` receives what is published, on any replica, of the tasks it follows. */
  abstract follow(follower: LiveLogFollower): void;

  // A host's live log carries events alone. It need not have the next four: the service keeps its hints on the replica.

  /** Resolves when what other replicas publish of this task arrives here, or after 100 ms. Never rejects. */
  async opened(_taskId: string): Promise<void> {}

  /**
   * Says to the listeners of a channel, on all replicas, that something has changed. Several hints of a channel may come as one.
   * Called after the commit. Never throws.
   */
  hint(_kind: HintKind, _key: string): void {}

  /**
   * From now on calls `heard` after a hint of the channel, and whenever hints may have been lost. `heard` must not throw.
   * Resolves with the function that ends this, when hints of other replicas arrive here, or after 100 ms. Never rejects.
   */
  async listen(_kind: HintKind, _key: string, _heard: () => void): Promise<() => void> {
    return () => {};
  }

  /** Whether hints of other replicas arrive here at present. While they do not, listeners ask PostgreSQL more often. */
  hearsOthers(): boolean {
    return false;
  }

  abstract start(): Promise<void>;
  abstract stop(): Promise<void>;
}

interface Owner {
  readonly tenantId: string;
  readonly ownerId: string;
}

/** The channel of what changes among tasks: those of an owner; of a tenant, without `ownerId`; all, without both. */
export function changesChannel({ tenantId, ownerId }: Partial<Owner>): readonly [kind: HintKind, key: string] {
  if (ownerId !== undefined) return ['owner', JSON.stringify([tenantId ?? '', ownerId])];
  return tenantId !== undefined ? ['tenant', tenantId] : ['all', ''];
}

/** Says that the state of a task of this owner has changed. Called after each commit that changes what a feed shows. */
export function hintChange(liveLog: LiveLog, owner: Owner): void {
  const { tenantId } = owner;
  for (const scope of [owner, { tenantId }, {}]) liveLog.hint(...changesChannel(scope));
}
