import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs } from './backoff.js';
import type { Lease, SignOfLease } from './lease.js';
import { type Answer, Refused, type Service, Unavailable } from './service.js';

/** How long one call may take; within a short lease less, so that it can be repeated before the end. */
const CALL_TIMEOUT_MS = 10_000;
const LONGEST_BACKOFF_MS = 2_000;
/** How long a lease that is over by this process's own clock may still be renewed, in leases: the service may have stood still. */
const PATIENCE = 2;

/** Codes of refusals that say: the lease is over. `TASK_ASIDE`: the task waits for an operator of the service. */
const OVER: ReadonlySet<string> = new Set(['LEASE_LOST', 'TASK_ASIDE']);

/** Nothing that is sent under this lease is stored any more. */
export class LeaseLost extends Error {
  constructor() {
    super('The lease is over.');
  }
}

/** Gets the news that any answer brings. */
export interface LeaseListener {
  cancelled(): void;
  lost(): void;
}

/**
 * A lease while it is held. Every accepted call extends it; when there is none for a third of its length, a heartbeat does. What is
 * refused because the lease has expired is sent again, the same, once a heartbeat has revived the lease: nobody took it. Calls are
 * repeated until they are answered or the lease is surely over by this process's own monotonic clock: a worker that
 * hears nothing any more must not believe that it still holds the task.
 */
export class HeldLease {
  #leaseMs = 0;
  /** In milliseconds of `performance.now()`; never earlier than what the service thinks. */
  #endsAt = 0;
  #over = false;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(
    readonly lease: Lease,
    private readonly service: Service,
    private readonly listener: LeaseListener,
  ) {}

  /**
   * `serviceTime` comes from the answer that brought the lease. One that seems old, measured by the lease, may have waited in the
   * socket of a process that was stopped: then nothing begins before the lease is known to be alive. A clock that is off costs a call.
   * @throws LeaseLost, Refused
   */
  async start(serviceTime: number): Promise<void> {
    this.heard({ body: this.lease, serviceTime });
    if (Math.abs(Date.now() - serviceTime) > this.#leaseMs / 2) await this.call('heartbeat');
  }

  /** @throws LeaseLost, Refused */
  async call(name: string, members: object = {}): Promise<void> {
    const { taskId, leaseToken } = this.lease;
    const json = JSON.stringify({ leaseToken, ...members });
    for (let failures = 0; ; failures += 1) {
      if (this.#over) throw this.lose();
      try {
        const timeoutMs = Math.min(CALL_TIMEOUT_MS, Math.max(1_000, this.#leaseMs / 3));
        return this.heard(await this.service.post<SignOfLease>(`tasks/${taskId}/${name}`, json, timeoutMs));
      } catch (error) {
        if (error instanceof Refused && OVER.has(error.code)) {
          if (name === 'heartbeat') throw this.lose();
          await this.call('heartbeat');
          continue;
        }
        if (!(error instanceof Unavailable)) throw error;
        const leftMs = this.#endsAt + PATIENCE * this.#leaseMs - performance.now();
        if (leftMs <= 0) throw this.lose();
        const longestMs = Math.min(LONGEST_BACKOFF_MS, this.#leaseMs / 6);
        await delay(Math.min(backoffMs(failures, longestMs, error.retryAfterMs), leftMs));
      }
    }
  }

  /** The call that gives the lease back. @throws LeaseLost, Refused, after which it is still held */
  async end(name: string, members?: object): Promise<void> {
    // Behind this call it would only learn that the lease is over.
    clearTimeout(this.#heartbeat);
    await this.call(name, members);
    this.close();
  }

  /** No calls, no heartbeats. */
  close(): void {
    this.#over = true;
    clearTimeout(this.#heartbeat);
  }

  private lose(): LeaseLost {
    if (!this.#over) {
      this.close();
      this.listener.lost();
    }
    return new LeaseLost();
  }

  private heard({ body, serviceTime }: Answer<SignOfLease>): void {
    if (this.#over) return;
    if (body.cancellationRequested) this.listener.cancelled();
    if (body.leaseExpiresAt === undefined) return;
    this.#leaseMs = Date.parse(body.leaseExpiresAt) - serviceTime;
    this.#endsAt = performance.now() + this.#leaseMs;
    this.beatLater();
  }

  private beatLater(): void {
    clearTimeout(this.#heartbeat);
    if (!this.#over) this.#heartbeat = setTimeout(() => void this.beat(), this.#leaseMs / 3);
  }

  private async beat(): Promise<void> {
    // The listener learns of a lost lease. After another refusal the next heartbeat may succeed.
    await this.call('heartbeat').catch(() => this.beatLater());
  }
}
