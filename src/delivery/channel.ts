import type { Queryable } from '../database/queryable.js';
import { TaskNotFound } from '../tasks/domain/tasks.errors.js';
import { readEvents, readHeads } from '../tasks/store/read-events.js';
import type { StoredEvent } from '../tasks/stored-event.js';
import { type Batch, batches } from './batches.js';
import { RecentEvents } from './recent-events.js';

/** Hears whenever the head moves. Must not throw. */
export interface HeadFollower {
  moved(): void;
  /** The log ends here: what was said to be after it is no event. */
  movedBack(headEventId: number): void;
}

/**
 * One followed task: how far its log goes as far as this replica knows, and the newest events without a hole. Subscribers hold a
 * cursor and nothing else; what they need is in the ring, or in PostgreSQL.
 */
export class Channel {
  subscribers = 0;
  #head = 0;
  /** Until PostgreSQL was asked, what is missing before a live event is history. */
  #isHeadKnown = false;
  #newestDelivered = 0;
  /** The events up to the head; empty after a hole. */
  readonly #ring = new RecentEvents();
  readonly #followers = new Set<HeadFollower>();
  /** The last answer of `recent()`, until the head moves: most who are told of it stand at the same place. */
  #cut: { readonly cursor: number; readonly boundary: number; readonly batches: readonly Batch[] } | undefined;
  #reads = new Map<string, Promise<readonly StoredEvent[]>>();

  constructor(
    readonly taskId: string,
    private readonly database: Queryable,
  ) {}

  get head(): number {
    return this.#head;
  }

  /**
   * Repeats are dropped. After a hole the ring begins anew: who needs what is missing reads the log. Nobody is told before
   * `announce()`, so that what came together is taken together.
   */
  receive(event: StoredEvent): 'repeated' | 'next' | 'after a hole' {
    if (event.eventId <= this.#head) return 'repeated';
    const isAfterHole = event.eventId > this.#head + 1;
    if (isAfterHole) this.#ring.clear();
    this.#ring.push(event);
    this.moveTo(event.eventId);
    return isAfterHole && this.#isHeadKnown ? 'after a hole' : 'next';
  }

  /** PostgreSQL says that the log goes at least so far. */
  advanceTo(headEventId: number): void {
    this.#isHeadKnown = true;
    if (headEventId <= this.#head) return;
    this.#ring.clear();
    this.moveTo(headEventId);
    this.announce();
  }

  /**
   * Asks PostgreSQL where the log ends, and goes back where it ends before `head`: an event is published after its commit, so what the
   * live log brought from beyond was never stored.
   * @throws TaskNotFound when the task is gone
   */
  async confirm(): Promise<void> {
    const seen = this.#head;
    const [stored] = await readHeads(this.database, [this.taskId]);
    if (!stored) throw new TaskNotFound();
    this.goBackTo(stored.headEventId, seen);
  }

  /** PostgreSQL said, after `seen` was the head here, that the log goes so far. */
  goBackTo(headEventId: number, seen: number): void {
    if (headEventId >= seen) return;
    this.#ring.clear();
    this.moveTo(headEventId);
    for (const follower of this.#followers) follower.movedBack(headEventId);
  }

  /** Forgets the events that came before this was last called. */
  age(): void {
    this.#ring.age();
    this.#cut = undefined;
  }

  /** Tells everybody where the head is. */
  announce(): void {
    for (const follower of this.#followers) follower.moved();
  }

  /** Whether no client was given any of these events, until now. */
  isFirst(firstEventId: number, lastEventId: number): boolean {
    if (firstEventId <= this.#newestDelivered) return false;
    this.#newestDelivered = lastEventId;
    return true;
  }

  /** The task is gone. Whoever follows reads the log, and finds that nothing is there. */
  remove(): void {
    this.advanceTo(this.#head + 1);
  }

  /** What the ring has right after the cursor, no batch beyond `boundary`; undefined when the log must be read. */
  recent(cursor: number, boundary: number): readonly Batch[] | undefined {
    if (this.#cut?.cursor === cursor && this.#cut.boundary === boundary) return this.#cut.batches;
    const events = this.#ring.after(cursor);
    if (!events) return undefined;
    this.#cut = { cursor, boundary, batches: batches(events, boundary) };
    return this.#cut.batches;
  }

  /** At most `limit` events after the cursor from PostgreSQL. Subscribers that stand at the same place share one read. */
  logged(cursor: number, limit: number): Promise<readonly StoredEvent[]> {
    const key = `${cursor}+${limit}`;
    let reading = this.#reads.get(key);
    if (!reading) {
      reading = readEvents(this.database, this.taskId, cursor, limit).finally(() => this.#reads.delete(key));
      this.#reads.set(key, reading);
    }
    return reading;
  }

  follow(follower: HeadFollower): void {
    this.#followers.add(follower);
  }

  unfollow(follower: HeadFollower): void {
    this.#followers.delete(follower);
  }

  private moveTo(head: number): void {
    this.#head = head;
    this.#cut = undefined;
  }
}
