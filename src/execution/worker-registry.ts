import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { DrainState } from '../drain-state.js';
import { Log } from '../observability/log.js';
import { Trouble } from '../observability/trouble.js';
import { registerWorkers, type SeenWorker } from '../tasks/store/register-workers.js';

/** How often a worker is written that goes on claiming as before. It counts as alive for a minute, and claims each 20 s. */
const REFRESH_MS = 30_000;
/** The pause between two writes, each of at most this number of workers and versions. */
const PAUSE_MS = 1_000;
const MAX_WORKERS = 100;
const MAX_VERSIONS = 100;
/** The workers whose last write this replica knows. */
const MAX_KNOWN = 10_000;

interface Written {
  readonly seen: string;
  /** In milliseconds of `performance.now()`. */
  readonly at: number;
}

/**
 * Remote workers, as they say in their claims what they are. No claim waits for the write. A worker that finds no place in one is
 * written after a later claim.
 */
@Injectable()
export class WorkerRegistry {
  readonly #due = new Map<string, SeenWorker>();
  readonly #written = new Map<string, Written>();
  readonly #trouble: Trouble;
  #writing = false;

  constructor(
    private readonly database: Database,
    private readonly drain: DrainState,
    log: Log,
  ) {
    this.#trouble = new Trouble(log, 'worker_registry.failed', 'worker_registry.recovered');
  }

  /** A worker has claimed. */
  see(worker: SeenWorker): void {
    const { workerId } = worker;
    const written = this.#written.get(workerId);
    const isKnown = written?.seen === JSON.stringify(worker) && performance.now() - written.at < REFRESH_MS;
    if (isKnown || (this.#due.size >= MAX_WORKERS && !this.#due.has(workerId))) return;
    this.#due.set(workerId, worker);
    if (!this.#writing) void this.write();
  }

  private async write(): Promise<void> {
    this.#writing = true;
    while (this.#due.size > 0 && !this.drain.workEnds.aborted) {
      const seen = [...this.#due.values()];
      this.#due.clear();
      try {
        await registerWorkers(this.database, seen, MAX_VERSIONS);
        this.#trouble.worked();
        for (const worker of seen) this.remember(worker);
      } catch (error) {
        this.#trouble.failed(error);
      }
      await delay(PAUSE_MS, undefined, { ref: false, signal: this.drain.workEnds }).catch(() => undefined);
    }
    this.#writing = false;
  }

  private remember(worker: SeenWorker): void {
    // Behind all others, so that the first is the one that was written the longest time ago.
    this.#written.delete(worker.workerId);
    this.#written.set(worker.workerId, { seen: JSON.stringify(worker), at: performance.now() });
    const [oldest] = this.#written.keys();
    if (this.#written.size > MAX_KNOWN && oldest !== undefined) this.#written.delete(oldest);
  }
}
