import { type TaskBridgeError, unreachable } from './errors.js';

/** Resolves after `ms`, or as soon as the signal aborts. Nothing of it is left then. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}

/** Something that can be ended from here, and ends with any of the signals. */
export interface Linked {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

export function linked(...signals: readonly (AbortSignal | null | undefined)[]): Linked {
  const own = new AbortController();
  const all = signals.filter((signal) => signal != null);
  // Node 22 forgets a linked signal that only another one is linked to. So each holds those before it.
  const signal = Object.assign(AbortSignal.any([own.signal, ...all]), { all });
  return { signal, abort: (reason) => own.abort(reason) };
}

/** Wakes all that wait for news. */
export class Bell {
  #rung: (() => void)[] = [];

  ring(): void {
    for (const wake of this.#rung.splice(0)) wake();
  }

  /** Resolves with the next ring, or when the signal aborts. */
  next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const wake = () => {
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#rung.push(wake);
      signal.addEventListener('abort', wake);
    });
  }
}

/** How long before the next try, in milliseconds: full jitter up to 1 s, doubling to 30 s. `failures` counts those before. */
export const backoff = (failures: number): number => Math.random() * Math.min(30_000, 1_000 * 2 ** failures);

/** A service that takes longer for its first byte counts as away. */
export const FIRST_BYTE_MS = 10_000;
/** A server heartbeats after 15 s of silence. Two that are missed, and a delay, mean a broken connection. */
const SILENCE_MS = 40_000;

/** Nothing was heard for too long, although this program was awake: evidence against the transport. */
export const SILENCE = unreachable('It is silent.');
/** A timer that is later than this means that the machine slept, or the page was frozen. */
const ASLEEP_MS = 5_000;

/** Calls `onSilence` where nothing is heard for too long. By the clock, so that it also fires after the machine slept. */
export class Watchdog {
  #deadline = Date.now() + FIRST_BYTE_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly onSilence: (error: TaskBridgeError) => void) {
    this.#look();
  }

  heard(): void {
    this.#deadline = Date.now() + SILENCE_MS;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    const leftMs = this.#deadline - Date.now();
    if (leftMs <= 0) this.onSilence(leftMs < -ASLEEP_MS ? unreachable() : SILENCE);
    else this.#timer = setTimeout(() => this.#look(), leftMs);
  }
}

/** 32 hex digits. `crypto.randomUUID` is missing on pages without TLS. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
