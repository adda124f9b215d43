import type { Queryable } from '../database/queryable.js';
import { readEvents } from '../tasks/store/read-events.js';
import type { StoredEvent } from '../tasks/stored-event.js';
import { RecentEvents } from './recent-events.js';

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
  #waiting = new Set<() => void>();
  #reads = new Map<string, Promise<readonly StoredEvent[]>>();

  constructor(
    readonly taskId: string,
    private readonly database: Queryable,
  ) {}

  get head(): number {
    return this.#head;
  }

  /**
   * Repeats are dropped. After a hole the ring begins anew: who needs what is missing reads the log.
   * @returns whether there is a hole
   */
  receive(event: StoredEvent): boolean {
    if (event.eventId <= this.#head) return false;
    const isAfterHole = event.eventId > this.#head + 1;
    if (isAfterHole) this.#ring.clear();
    this.#ring.push(event);
    this.#head = event.eventId;
    this.wakeAll();
    return isAfterHole && this.#isHeadKnown;
  }

  /** PostgreSQL says that the log goes at least so far. */
  advanceTo(headEventId: number): void {
    this.#isHeadKnown = true;
    if (headEventId <= this.#head) return;
    this.#head = headEventId;
    this.#ring.clear();
    this.wakeAll();
  }

  /** Whether no client was given any of these events, until now. */
  isFirst(firstEventId: number, lastEventId: number): boolean {
    if (firstEventId <= this.#newestDelivered) return false;
    this.#newestDelivered = lastEventId;
    return true;
  }

  /** The task is gone. Whoever waits reads the log, and finds that nothing is there. */
  remove(): void {
    this.advanceTo(this.#head + 1);
  }

  /** What the ring has right after the cursor; undefined when the log must be read. */
  recent(cursor: number): readonly StoredEvent[] | undefined {
    return this.#ring.after(cursor);
  }

  /** Whether `recent` answers. */
  hasRecent(cursor: number): boolean {
    return this.#ring.has(cursor);
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

  /** Calls `wake` once, the next time the head moves. */
  wait(wake: () => void): void {
    this.#waiting.add(wake);
  }

  forget(wake: () => void): void {
    this.#waiting.delete(wake);
  }

  private wakeAll(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const wake of waiting) wake();
  }
}
