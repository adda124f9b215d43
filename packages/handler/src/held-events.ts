import type { SizedEvent } from './events.js';
import { MAX_HELD_BYTES } from './limits.js';

interface Held<T> {
  readonly event: SizedEvent;
  /** Who said it; undefined outside of steps. */
  readonly by: T | undefined;
}

/** What a run says while it may repeat an earlier run. Most of it is dropped, and a little is sent later. */
export class HeldEvents<T> {
  static readonly FULL =
    `What a run says before its last finished step has returned may have at most ${MAX_HELD_BYTES} bytes.`;

  #held: Held<T>[] = [];
  #bytes = 0;
  #isFull = false;

  /** Whether something had no room, and is missing. */
  get isFull(): boolean {
    return this.#isFull;
  }

  get events(): readonly SizedEvent[] {
    return this.#held.map(({ event }) => event);
  }

  add(event: SizedEvent, by: T | undefined): void {
    this.#bytes += event.bytes;
    if (this.#bytes > MAX_HELD_BYTES) this.#isFull = true;
    else this.#held.push({ event, by });
  }

  /** Drops what others said. */
  keep(these: ReadonlySet<T>): void {
    this.filter(({ by }) => by !== undefined && these.has(by));
  }

  drop(one: T): void {
    this.filter(({ by }) => by !== one);
  }

  private filter(isKept: (held: Held<T>) => boolean): void {
    this.#held = this.#held.filter(isKept);
    this.#bytes = this.#held.reduce((sum, { event }) => sum + event.bytes, 0);
    this.#isFull = false;
  }
}
