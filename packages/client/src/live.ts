import { linked, type Linked, pause } from './waiting.js';

/** A value that changes. `get` gives the same reference until it has changed. */
export interface Live<V> {
  get(): V;
  /** At most one call a frame. Returns what ends it. */
  subscribe(changed: () => void): () => void;
}

/** How long a value without subscribers is kept up to date: React mounts twice, and pages move on. */
const LINGER_MS = 1_000;
/** A hidden tab paints no frames. */
const NO_FRAME_MS = 100;

/** Notifies by animation frame, raced with a timer, and knows when somebody looks. */
export class LiveValue<V> implements Live<V> {
  readonly #listeners = new Set<() => void>();
  readonly #read: () => V;
  readonly #begin: (() => () => void) | undefined;
  #end: (() => void) | undefined;
  #lingering: Linked | undefined;
  #cancelFrame: (() => void) | undefined;

  /** `begin` is called for the first subscriber. What it returns is called a second after the last has left, or with `closed`. */
  constructor(
    read: () => V,
    private readonly closed: AbortSignal,
    begin?: () => () => void,
  ) {
    this.#read = read;
    this.#begin = begin;
  }

  get(): V {
    return this.#read();
  }

  subscribe(changed: () => void): () => void {
    // The same function may be given twice.
    const listener = () => changed();
    this.#listeners.add(listener);
    this.#lingering?.abort();
    this.#end ??= this.#begin?.();
    return () => {
      if (!this.#listeners.delete(listener) || this.#listeners.size > 0) return;
      const lingering = (this.#lingering = linked(this.closed));
      void pause(LINGER_MS, lingering.signal).then(() => {
        if (this.#lingering === lingering && this.#listeners.size === 0) this.#leave();
      });
    };
  }

  /** There is something new to read. */
  changed(): void {
    this.#cancelFrame ??= nextFrame(() => {
      this.#cancelFrame = undefined;
      for (const listener of [...this.#listeners]) listener();
    });
  }

  #leave(): void {
    this.#cancelFrame?.();
    this.#cancelFrame = undefined;
    this.#end?.();
    this.#end = undefined;
  }
}

/** Once, at the next frame or after 100 ms. Returns what prevents it. */
function nextFrame(call: () => void): () => void {
  const { requestAnimationFrame: ask, cancelAnimationFrame: cancel } = globalThis as Partial<typeof globalThis>;
  const once = () => {
    prevent();
    call();
  };
  const timer = setTimeout(once, ask ? NO_FRAME_MS : 16);
  const frame = ask?.(once);
  const prevent = () => {
    clearTimeout(timer);
    cancel?.(frame as number);
  };
  return prevent;
}
