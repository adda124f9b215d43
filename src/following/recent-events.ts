import type { StoredEvent } from '../tasks/domain/stored-event.js';

/**
 * Recent events of a followed task, so that a reader slightly behind costs no query. Up to twice this number between two cuts.
 */
const RING_EVENTS = 256;
/** Characters of their payloads together: twice what a worker may send at once. The newest event stays, whatever its size. */
const RING_CHARACTERS = 512 * 1024;

/** The newest events of a task, ascending and dense. */
export class RecentEvents {
  #events: StoredEvent[] = [];
  #characters = 0;
  /** The last one that was here when `age()` was last called. */
  #aged = 0;

  /** Follows the last one, or comes after `clear()`. */
  push(event: StoredEvent): void {
    this.#events.push(event);
    this.#characters += event.payloadJson.length;
    if (this.#events.length > 2 * RING_EVENTS || this.#characters > 2 * RING_CHARACTERS) this.cut();
  }

  /**
   * Forgets the events that were here at its last call. Called in equal intervals, it bounds the memory of all rings by the
   * recent events, and not by the number of followed tasks.
   */
  age(): void {
    const place = this.placeAfter(this.#aged);
    if (place > 0) {
      this.#events = this.#events.slice(place);
      this.#characters = this.#events.reduce((sum, { payloadJson }) => sum + payloadJson.length, 0);
    }
    this.#aged = this.#events.at(-1)?.eventId ?? 0;
  }

  clear(): void {
    this.#events = [];
    this.#characters = 0;
  }

  /** All events here after the cursor. Undefined when the event right after it is not here. */
  after(cursor: number): readonly StoredEvent[] | undefined {
    return this.has(cursor) ? this.#events.slice(this.placeAfter(cursor)) : undefined;
  }

  /** Whether the event right after the cursor is here. */
  private has(cursor: number): boolean {
    return this.#events[this.placeAfter(cursor)]?.eventId === cursor + 1;
  }

  private placeAfter(cursor: number): number {
    const first = this.#events[0];
    return first ? cursor + 1 - first.eventId : -1;
  }

  private cut(): void {
    const events = this.#events;
    this.clear();
    for (const event of events.reverse()) {
      const characters = this.#characters + event.payloadJson.length;
      const fits = this.#events.length < RING_EVENTS && characters <= RING_CHARACTERS;
      if (!fits && this.#events.length > 0) break;
      this.#events.push(event);
      this.#characters = characters;
    }
    this.#events.reverse();
  }
}
