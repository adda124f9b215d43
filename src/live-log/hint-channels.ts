import type { HintKind } from '../tasks/ports/live-log.js';

/** A kind and a key as one line of text. */
export function channelOf(kind: HintKind, key: string): string {
  return JSON.stringify([kind, key]);
}

/** The listeners on this replica, by channel. */
export class HintChannels {
  readonly #listeners = new Map<string, Set<() => void>>();
  #told = new Set<string>();

  /** Returns the function that ends it. */
  listen(channel: string, heard: () => void): () => void {
    // Another object for each call: the same function may listen twice.
    const listener = () => heard();
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners.add(listener));
    return () => {
      if (listeners.delete(listener) && listeners.size === 0) this.#listeners.delete(channel);
    };
  }

  /** Calls the listeners when the present turn is over: once, however often it was called meanwhile. */
  tell(channel: string): void {
    if (!this.#listeners.has(channel)) return;
    if (this.#told.size === 0) process.nextTick(() => this.pass());
    this.#told.add(channel);
  }

  /** Calls the listeners of a channel. Returns whether there are any. */
  hear(channel: string): boolean {
    const listeners = this.#listeners.get(channel);
    for (const heard of [...(listeners ?? [])]) heard();
    return listeners !== undefined;
  }

  hearAll(): void {
    for (const channel of [...this.#listeners.keys()]) this.hear(channel);
  }

  private pass(): void {
    const told = this.#told;
    this.#told = new Set();
    for (const channel of told) this.hear(channel);
  }
}
