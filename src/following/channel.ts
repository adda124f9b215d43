import type { Queryable } from '../database/queryable.js';
import { TaskNotFound } from '../tasks/domain/tasks.errors.js';
import { readEvents, readHeads } from '../tasks/store/read-events.js';
import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { type Batch, batches } from './batches.js';
import { RecentEvents } from './recent-events.js';

/** Is called whenever the head moves. Must not throw. */
export interface HeadFollower {
  moved(): void;
  /** The log ends here. Live events beyond it were never stored. */
  movedBack(headEventId: number): void;
}

/**
 * One followed task: its head, as far as this replica knows, and its newest events without a hole. Subscribers hold only a
 * cursor. They take events from the ring, or from PostgreSQL.
 */
export class Channel {
  subscribers = 0;
  #head = 0;
  /** Until PostgreSQL has named the head, events missing before a live event are history and no hole. */
  #isHeadKnown = false;
  #newestDelivered = 0;
  /** The events up to the head; empty after a hole. */
  readonly #ring = new RecentEvents();
  readonly #followers = new Set<HeadFollower>();
  /** The last answer of `recent()`, until the head moves: most followers have the same cursor. */
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
   * Drops repeats. After a hole the ring begins again, and readers get the missing events from the log. Followers are called only
   * by `announce()`, so they take together what came together.
   */
  receive(event: StoredEvent): 'repeated' | 'next' | 'after a hole' {
    if (event.eventId <= this.#head) return 'repeated';
    const isAfterHole = event.eventId > this.#head + 1;
    if (isAfterHole) this.#ring.clear();
    this.#ring.push(event);
    this.moveTo(event.eventId);
    return isAfterHole && this.#isHeadKnown ? 'after a hole' : 'next';
  }

  /** PostgreSQL says that the log has at least this head. */
  advanceTo(headEventId: number): void {
    this.#isHeadKnown = true;
    if (headEventId <= this.#head) return;
    this.#ring.clear();
    this.moveTo(headEventId);
    this.announce();
  }

  /**
   * Asks PostgreSQL for the end of the log, and goes back when it is before `head`. An event is published after its commit, so
   * live events beyond that end were never stored.
   * @throws TaskNotFound when the task is gone
   */
  async confirm(): Promise<void> {
    const seen = this.#head;
    const [stored] = await readHeads(this.database, [this.taskId]);
    if (!stored) throw new TaskNotFound();
    this.goBackTo(stored.headEventId, seen);
  }

  /** PostgreSQL named this head, after `seen` was the head here. */
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

  /** Calls every follower: the head has moved. */
  announce(): void {
    for (const follower of this.#followers) follower.moved();
  }

  /** Whether no client has got this event or a later one yet. */
  isFirst(firstEventId: number): boolean {
    return firstEventId > this.#newestDelivered;
  }

  /** A client got the events up to this one. */
  delivered(lastEventId: number): void {
    this.#newestDelivered = lastEventId;
  }

  /** The task is gone. Its followers read the log, and find nothing there. */
  remove(): void {
    this.advanceTo(this.#head + 1);
  }

  /** The ring's events right after the cursor, with no batch beyond `boundary`. Undefined when the log must be read. */
  recent(cursor: number, boundary: number): readonly Batch[] | undefined {
    if (this.#cut?.cursor === cursor && this.#cut.boundary === boundary) return this.#cut.batches;
    const events = this.#ring.after(cursor);
    if (!events) return undefined;
    this.#cut = { cursor, boundary, batches: batches(events, boundary) };
    return this.#cut.batches;
  }

  /** At most `limit` events after the cursor from PostgreSQL. Subscribers with the same cursor share one read. */
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
