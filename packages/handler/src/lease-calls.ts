import { backoffMs } from './backoff.js';
import { LeaseLost, Unavailable } from './holder-errors.js';
import type { LeaseHolder } from './lease-holder.js';

const LONGEST_BACKOFF_MS = 2_000;

/**
 * Calls under a lease. A call that was refused because of an expired lease is repeated after the renewal, because nobody took the
 * lease. A call without an answer is repeated until it gets one, or the lease is lost.
 */
export class LeaseCalls {
  constructor(
    private readonly holder: LeaseHolder,
    private readonly lost: AbortSignal,
  ) {}

  /** @throws LeaseLost when the lease is over, and what the holder throws besides */
  make<T>(call: () => Promise<T>): Promise<T> {
    return this.answered(call, () => this.renew());
  }

  /** @throws LeaseLost when the lease is over, and what the holder throws besides */
  renew(): Promise<void> {
    return this.answered(() => this.holder.renew());
  }

  private async answered<T>(call: () => Promise<T>, whenExpired?: () => Promise<void>): Promise<T> {
    for (let failures = 0; ; failures += 1) {
      if (this.lost.aborted) throw new LeaseLost();
      try {
        return await call();
      } catch (error) {
        if (error instanceof Unavailable) await this.pause(failures, error.retryAfterMs);
        else if (error instanceof LeaseLost && whenExpired) await whenExpired();
        else throw error;
      }
    }
  }

  /** Ends early when the lease is lost. */
  private pause(failures: number, atLeastMs: number): Promise<void> {
    const longestMs = Math.min(LONGEST_BACKOFF_MS, this.holder.leaseMs / 6);
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.lost.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, backoffMs(failures, longestMs, atLeastMs));
      this.lost.addEventListener('abort', end);
    });
  }
}
