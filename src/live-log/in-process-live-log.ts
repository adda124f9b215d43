import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { Followers } from './followers.js';
import { LiveLog, type LiveLogFollower } from '../tasks/ports/live-log.js';

/** For one replica, or for several whose readers accept the delay of the head comparison. */
export class InProcessLiveLog extends LiveLog {
  readonly #followers = new Followers();

  override publish(events: readonly StoredEvent[]): void {
    this.#followers.receive(events);
  }

  override follow(follower: LiveLogFollower): void {
    this.#followers.add(follower);
  }

  override async start(): Promise<void> {}
  override async stop(): Promise<void> {}
}
