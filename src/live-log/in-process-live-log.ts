import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { Followers } from './followers.js';
import { channelOf } from './hint-channels.js';
import { type HintKind, LiveLog, type LiveLogFollower } from '../tasks/ports/live-log.js';

/** For one replica, or for several whose readers accept the delay of the comparisons with PostgreSQL. */
export class InProcessLiveLog extends LiveLog {
  readonly #followers = new Followers();

  override publish(events: readonly StoredEvent[]): void {
    this.#followers.receive(events);
  }

  override follow(follower: LiveLogFollower): void {
    this.#followers.add(follower);
  }

  override hint(kind: HintKind, key: string): void {
    this.#followers.hints.tell(channelOf(kind, key));
  }

  override async listen(kind: HintKind, key: string, heard: () => void): Promise<() => void> {
    return this.#followers.hints.listen(channelOf(kind, key), heard);
  }

  override async start(): Promise<void> {}
  override async stop(): Promise<void> {}
}
