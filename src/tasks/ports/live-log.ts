import type { StoredEvent } from '../domain/stored-event.js';

/** Receives events of tasks with subscribers here. The hub is one. */
export interface LiveLogFollower {
  follows(taskId: string): boolean;
  /**
   * Takes events of tasks that it follows, some perhaps again or late. Returns whether any of them is new. Never throws: the
   * caller is answering a write.
   */
  receive(events: readonly StoredEvent[]): boolean;
}

/**
 * Carries committed events to their followers. It is a hint, never the truth: it may lose, repeat and reorder events, and its
 * followers recover from PostgreSQL. The service publishes after the commit, and never waits for it.
 */
export abstract class LiveLog {
  /** Gives the events to this replica's followers before it returns, and to other replicas' when it can. Never throws. */
  abstract publish(events: readonly StoredEvent[]): void;

  /** From now on `follower` receives what is published, on any replica, of the tasks it follows. */
  abstract follow(follower: LiveLogFollower): void;

  abstract start(): Promise<void>;
  abstract stop(): Promise<void>;
}
