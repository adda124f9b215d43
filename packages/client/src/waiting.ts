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

/** Aborts with the first of the signals. `unlink` it when its work is over. */
export interface Linked {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
  unlink(): void;
}

/** `AbortSignal.any`, for runtimes without it, and without anything left at signals that live long. */
export function linked(...signals: readonly (AbortSignal | null | undefined)[]): Linked {
  const controller = new AbortController();
  const links = signals.map((signal) => {
    const abort = () => controller.abort(signal?.reason);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort);
    return () => signal?.removeEventListener('abort', abort);
  });
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    unlink: () => links.forEach((unlink) => unlink()),
  };
}

/** How long before the next try, in milliseconds: full jitter up to 1 s, doubling to 30 s. `failures` counts those before. */
export const backoff = (failures: number): number => Math.random() * Math.min(30_000, 1_000 * 2 ** failures);

/** Calls `onSilence` once nothing was heard for the limit. By the clock, so that it also fires after the machine slept. */
export class Watchdog {
  #heardAt = Date.now();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private limitMs: number,
    private readonly onSilence: () => void,
  ) {
    this.#arm();
  }

  /** From now on with another limit, where one is given. */
  heard(limitMs = this.limitMs): void {
    this.#heardAt = Date.now();
    if (limitMs === this.limitMs) return;
    this.limitMs = limitMs;
    this.#arm();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const leftMs = this.#heardAt + this.limitMs - Date.now();
    if (leftMs <= 0) return this.onSilence();
    this.#timer = setTimeout(() => this.#arm(), leftMs);
  }
}

/** 32 hex digits. `crypto.randomUUID` is missing on pages without TLS. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
