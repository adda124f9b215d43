import { LiveLog, type LiveLogFollower } from './live-log.js';
import type { StoredEvent } from '../tasks/stored-event.js';

/** For one replica, or for several that can live with the pace of the head comparison. */
export class InProcessLiveLog extends LiveLog {
  readonly #followers: LiveLogFollower[] = [];

  override publish(events: readonly StoredEvent[]): void {
    for (const follower of this.#followers) follower.receive(events);
  }

  override follow(follower: LiveLogFollower): void {
    this.#followers.push(follower);
  }

  override async start(): Promise<void> {}
  override async stop(): Promise<void> {}
}
