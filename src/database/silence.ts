import { isNativeError } from 'node:util/types';

const TICK_MS = 200;
/** Two seconds without a word to anybody. Ticks, not time: a process that could not run for long was silent itself. */
const SILENT_TICKS = 10;

/** PostgreSQL has stopped answering, without a word: a network that swallows, a host that is frozen. */
export class Silence extends Error {
  override readonly name = 'Silence';

  constructor() {
    super(`PostgreSQL has answered nothing for ${(TICK_MS * SILENT_TICKS) / 1000} s`);
  }
}

/**
 * Tells a server that is gone from a statement that is slow: while others are answered, one may take its time. The periodic
 * questions of every replica (heads, waiting tasks, leases) are the others where there is no load.
 */
export class SilenceWatch {
  readonly #waiting = new Set<(silence: Silence) => void>();
  #ticks = 0;
  #timer: NodeJS.Timeout | undefined;

  /** What the answer is, or a rejection with Silence. The statement itself goes on: its connection is not to be used again. */
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
    // Whoever asks from now on has their own two seconds.
    this.#ticks = 0;
    const silence = new Silence();
    for (const reject of this.#waiting) reject(silence);
  }

  private end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
