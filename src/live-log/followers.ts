import type { StoredEvent } from '../tasks/domain/stored-event.js';
import type { LiveLogFollower } from '../tasks/ports/live-log.js';
import { HintChannels } from './hint-channels.js';

/** Who follows and listens on this replica. Each follower gets the events of the tasks that it follows, and no others. */
export class Followers implements LiveLogFollower {
  readonly hints = new HintChannels();
  readonly #followers: LiveLogFollower[] = [];

  add(follower: LiveLogFollower): void {
    this.#followers.push(follower);
  }

  follows(taskId: string): boolean {
    return this.#followers.some((follower) => follower.follows(taskId));
  }

  receive(events: readonly StoredEvent[]): boolean {
    let isNews = false;
    for (const follower of this.#followers) {
      const followed = events.filter(({ taskId }) => follower.follows(taskId));
      if (followed.length > 0 && follower.receive(followed)) isNews = true;
    }
    return isNews;
  }

  missed(): void {
    for (const follower of this.#followers) follower.missed();
    this.hints.hearAll();
  }
}
