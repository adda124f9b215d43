import { Injectable } from '@nestjs/common';
import { MAX_HELD_LEASES } from '#protocol/limits.js';
import type { Signal } from '#protocol/snapshots.js';
import { Database } from '../database/database.js';
import { DrainState } from '../drain-state.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { LiveLog } from '../tasks/ports/live-log.js';
import { type CancelledLease, readCancelledLeases } from '../tasks/store/cancelled-leases.js';
import { covers, type WorkerGrant } from './worker-grant.js';

/** How soon a signal arrives whose hint was lost. */
const LOOK_MS = 1_000;

/** What one call waits for. */
export interface AwaitedSignals {
  /** With the name of its token, like `worker_id` of a task. */
  readonly workerId: string;
  readonly grant: WorkerGrant;
  /** Tasks whose cancellation the worker has learned. */
  readonly known: ReadonlySet<string>;
}

interface Waiter extends AwaitedSignals {
  readonly end: (signals: readonly Signal[]) => void;
}

/**
 * All calls of workers that wait for signals on this replica. They hold no connection. A hint makes this replica look at once, and it
 * looks once a second besides: one query serves all that wait.
 */
@Injectable()
export class WorkerSignals {
  readonly #waiters = new Set<Waiter>();
  #looking: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly database: Database,
    private readonly liveLog: LiveLog,
    private readonly metrics: MetricsSink,
    private readonly drain: DrainState,
  ) {
    metrics.set('worker_signals_waiting', 0);
    drain.workEnds.addEventListener('abort', () => {
      for (const waiter of [...this.#waiters]) waiter.end([]);
    });
  }

  /**
   * Resolves with the signals of the worker as soon as there is one, with none when the time is over, `left` aborts, or the replica
   * drains.
   * @throws DatabaseUnavailable when the first look finds no database
   */
  async wait(awaited: AwaitedSignals, timeoutMs: number, left: AbortSignal): Promise<readonly Signal[]> {
    if (this.drain.workEnds.aborted || left.aborted) return [];
    const { promise, resolve, reject } = Promise.withResolvers<readonly Signal[]>();
    const end = (signals: readonly Signal[]) => {
      clearTimeout(timer);
      left.removeEventListener('abort', abort);
      this.#waiters.delete(waiter);
      this.waitersChanged();
      resolve(signals);
    };
    const abort = () => end([]);
    const waiter = { ...awaited, end };
    const timer = timeoutMs > 0 ? setTimeout(abort, timeoutMs) : undefined;
    left.addEventListener('abort', abort);
    this.#waiters.add(waiter);
    this.waitersChanged();
    // Hints arrive before the first look, so that nothing is missed between the two.
    const leave = await this.liveLog.listen('worker', awaited.workerId, () => void this.lookAgain());
    this.look().then(
      () => timeoutMs === 0 && abort(),
      (error: unknown) => {
        reject(error as Error);
        abort();
      },
    );
    return promise.finally(leave);
  }

  /** A lease of this worker is to end. Called after the commit. */
  cancelled(workerId: string): void {
    this.liveLog.hint('worker', workerId);
  }

  /** The query begins after the call, so that it finds what was committed before. One runs at a time. */
  private look(): Promise<void> {
    this.#next ??= this.#looking.then(() => {
      this.#next = undefined;
      const looking = this.lookNow();
      this.#looking = looking.catch(() => undefined);
      return looking;
    });
    return this.#next;
  }

  /** A look that nobody waits for may fail: there is another one in a second. */
  private lookAgain(): Promise<void> {
    return this.look().catch(() => undefined);
  }

  private async lookNow(): Promise<void> {
    const workerIds = [...new Set([...this.#waiters].map(({ workerId }) => workerId))];
    if (workerIds.length === 0) return;
    const byWorker = Map.groupBy(await readCancelledLeases(this.database, workerIds), ({ workerId }) => workerId);
    for (const { workerId, grant, known, end } of [...this.#waiters]) {
      const cancelled = (byWorker.get(workerId) ?? []).filter(
        (lease) => !known.has(lease.taskId) && covers(grant, lease),
      );
      if (cancelled.length > 0) end(cancelled.slice(0, MAX_HELD_LEASES).map(signalOf));
    }
  }

  private waitersChanged(): void {
    const { size } = this.#waiters;
    this.metrics.set('worker_signals_waiting', size);
    if (size > 0) this.#timer ??= setInterval(() => void this.lookAgain(), LOOK_MS);
    if (size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function signalOf({ taskId, attempt, cancelReason }: CancelledLease): Signal {
  return { type: 'cancel', taskId, attempt, cancelReason };
}
