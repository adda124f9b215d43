import type { StoredEvent } from '../tasks/stored-event.js';

/** Who wants events of tasks that have subscribers here: the hub. */
export interface LiveLogFollower {
  follows(taskId: string): boolean;
  /**
   * Events of tasks it follows, some perhaps again or late. Answers whether any of them is news. Never throws: it is called where a
   * write is being answered.
   */
  receive(events: readonly StoredEvent[]): boolean;
}

/**
 * Carries committed events to those who follow them. A hint, never the truth: it may lose, repeat and reorder, and its
 * followers heal from PostgreSQL. Publishing is done after the commit and is never waited for.
 */
export abstract class LiveLog {
  /** Gives the events to this replica's followers before it returns, and to other replicas' when it can. Never throws. */
  abstract publish(events: readonly StoredEvent[]): void;

  /** From now on `follower` receives what is published, on any replica, of the tasks it follows. */
  abstract follow(follower: LiveLogFollower): void;

  abstract start(): Promise<void>;
  abstract stop(): Promise<void>;
}
