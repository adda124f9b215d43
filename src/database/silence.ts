import { isNativeError } from 'node:util/types';

const TICK_MS = 200;
/** Two seconds without an answer to any caller. It counts ticks, not time: a process that stood still was silent itself. */
const SILENT_TICKS = 10;

/** PostgreSQL stopped answering without an error: a network that drops packets, a frozen host. */
export class Silence extends Error {
  override readonly name = 'Silence';

  constructor() {
    super(`PostgreSQL has answered nothing for ${(TICK_MS * SILENT_TICKS) / 1000} s`);
  }
}

/**
 * Distinguishes a dead server from a slow statement: while PostgreSQL answers others, one may be slow. Without load the others
 * are the periodic queries of every replica: heads, waiting tasks, leases.
 */
export class SilenceWatch {
  readonly #waiting = new Set<(silence: Silence) => void>();
  #ticks = 0;
  #timer: NodeJS.Timeout | undefined;

  /** The answer, or a rejection with Silence. The statement itself goes on: its connection is not to be used again. */
  async within<T>(answer: Promise<T>): Promise<T> {
    const { promise: silence, reject } = Promise.withResolvers<never>();
    this.#waiting.add(reject);
    this.#timer ??= this.begin();
    try {
      const answered = await Promise.race([answer, silence]);
      this.#ticks = 0;
      return answered;
    } catch (error) {
      if (!isNativeError(error) || error.name !== 'Silence') this.#ticks = 0;
      throw error;
    } finally {
      this.#waiting.delete(reject);
      if (this.#waiting.size === 0) this.end();
    }
  }

  private begin(): NodeJS.Timeout {
    this.#ticks = 0;
    return setInterval(() => this.tick(), TICK_MS);
  }

  private tick(): void {
    this.#ticks += 1;
    if (this.#ticks < SILENT_TICKS) return;
    // Later callers have their own two seconds.
    this.#ticks = 0;
    const silence = new Silence();
    for (const reject of this.#waiting) reject(silence);
  }

  private end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
