import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Attempt, type Report } from '../../handler/src/attempt.js';
import { backoffMs } from '../../handler/src/backoff.js';
import type { TaskHandler, TaskHandlers } from '../../handler/src/task-handler.js';
import { MAX_TASKS } from '../../protocol/src/limits.js';
import { HeldLease } from './held-lease.js';
import { type GivenLease, leasedTask, leasesIn } from './lease.js';
import { Service } from './service.js';
import { printProblem, type WorkerProblem } from './worker-problem.js';

/** How long one claim waits for a task, held open by the service. */
const WAIT_MS = 20_000;
/** How much longer its answer may take. */
const ANSWER_MS = 10_000;
const LONGEST_BACKOFF_MS = 5_000;
/** Half of what `docker stop` leaves, so that there is time to hand back what does not obey. */
const DRAIN_TIMEOUT_MS = 5_000;
const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

export interface WorkerOptions {
  /** Where the service is, such as `http://127.0.0.1:3000`; may have a path. */
  readonly url: string | URL;
  /** One of the service's WORKER_TOKENS. */
  readonly token: string;
  /** What executes a task, by its type. */
  readonly handlers: TaskHandlers;
  /** The types to claim. Defaults to all that have a handler. */
  readonly taskTypes?: readonly string[];
  /** Tasks at a time. Defaults to 10. */
  readonly concurrency?: number;
  /** Names this worker in the service's logs; unique among workers. Defaults to the host's name and a random id. */
  readonly workerId?: string;
  /** Stops the worker when it aborts. */
  readonly signal?: AbortSignal;
  /** Whether SIGTERM and SIGINT stop the worker; a second one ends the process at once. Defaults to true. */
  readonly handleSignals?: boolean;
  /** How long handlers may take to obey when the worker stops; then their tasks are handed back while they still run. Defaults to 5 000. */
  readonly drainTimeoutMs?: number;
  /** Gets problems that the service does not learn of. Defaults to a line on standard error. */
  readonly report?: (problem: WorkerProblem) => void;
}

/** Claims tasks of a TaskBridge service and runs their handlers in this process. */
export class Worker {
  readonly workerId: string;
  /** Resolves when the worker was stopped and holds nothing any more. */
  readonly finished: Promise<void>;
  readonly #handlers: ReadonlyMap<string, TaskHandler>;
  readonly #taskTypes: readonly string[];
  readonly #concurrency: number;
  readonly #service: Service;
  readonly #report: (problem: WorkerProblem) => void;
  readonly #running = new Map<Attempt, Promise<void>>();
  readonly #stop = new AbortController();
  readonly #onStop = (): void => void this.stop();
  #finish: () => void = () => undefined;
  #abandon: NodeJS.Timeout | undefined;
  #started = false;

  /** @throws TypeError when an option cannot be meant */
  constructor(private readonly options: WorkerOptions) {
    const { url, token, handlers, taskTypes = Object.keys(handlers), concurrency = 10, workerId } = options;
    this.#handlers = new Map(Object.entries(handlers));
    const unknown = taskTypes.find((taskType) => typeof this.#handlers.get(taskType) !== 'function');
    if (unknown !== undefined) throw new TypeError(`there is no handler for the task type ${unknown}`);
    if (taskTypes.length === 0) throw new TypeError('handlers: at least one is needed');
    if (!Number.isInteger(concurrency) || concurrency < 1) throw new TypeError('concurrency: a whole number from 1');
    if (!/^[\x21-\x7e]+$/.test(token ?? '')) throw new TypeError('token: one of WORKER_TOKENS of the service');
    this.#service = new Service(url, token);
    this.#taskTypes = taskTypes;
    this.#concurrency = concurrency;
    this.#report = options.report ?? printProblem;
    this.workerId =
      workerId ??
      `${hostname()
        .replace(/[^\x21-\x7e]/g, '-')
        .slice(0, 80)}:${randomUUID()}`;
    this.finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Claims from now on. Once. */
  start(): void {
    if (this.#started) throw new Error('the worker was started before');
    this.#started = true;
    const { signal, handleSignals = true } = this.options;
    signal?.addEventListener('abort', this.#onStop);
    if (handleSignals) for (const name of SIGNALS) process.once(name, this.#onStop);
    if (signal?.aborted) this.#onStop();
    void this.claimAndRun();
  }

  /**
   * Claims no more, aborts the signals of what runs and hands it back, for others to go on with at once. Resolves when nothing is held
   * any more; then nothing of the worker keeps the process alive either.
   */
  stop(): Promise<void> {
    if (this.#stop.signal.aborted) return this.finished;
    this.#stop.abort();
    for (const attempt of this.#running.keys()) attempt.stop('released');
    this.#abandon = setTimeout(() => {
      for (const attempt of this.#running.keys()) void attempt.abandon();
    }, this.options.drainTimeoutMs ?? DRAIN_TIMEOUT_MS);
    if (!this.#started) this.finish();
    return this.finished;
  }

  private async claimAndRun(): Promise<void> {
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted; ) {
      while (this.#running.size >= this.#concurrency) await Promise.race(this.#running.values());
      if (signal.aborted) break;
      try {
        await this.claim(signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        if (failures === 0) this.#report({ kind: 'claim_failed', error });
        await this.pause(backoffMs(failures, LONGEST_BACKOFF_MS));
        failures += 1;
      }
    }
    await Promise.all(this.#running.values());
    this.finish();
  }

  private finish(): void {
    clearTimeout(this.#abandon);
    this.options.signal?.removeEventListener('abort', this.#onStop);
    for (const name of SIGNALS) process.removeListener(name, this.#onStop);
    this.#finish();
  }

  /** Waits for tasks, never for more than there are free slots: a task that waits here is one that nobody else can run. */
  private async claim(signal: AbortSignal): Promise<void> {
    const askedAt = performance.now();
    const maxTasks = Math.min(this.#concurrency - this.#running.size, MAX_TASKS.maximum);
    const claim = { workerId: this.workerId, taskTypes: this.#taskTypes, maxTasks, waitTimeoutMs: WAIT_MS };
    const { body: leases, serviceTime } = await this.#service.post(
      'leases',
      JSON.stringify(claim),
      WAIT_MS + ANSWER_MS,
      leasesIn,
      signal,
    );
    for (const lease of leases) this.begin(lease, serviceTime);
    // A replica that drains answers waiting claims with nothing, and the next one too.
    const early = leases.length === 0 && performance.now() - askedAt < WAIT_MS / 2;
    if (early) await this.pause(500 + 500 * Math.random());
  }

  private begin({ lease, exact }: GivenLease, serviceTime: number): void {
    const handler = this.#handlers.get(lease.taskType) as TaskHandler;
    const { taskId, taskType, attempt: number } = lease;
    const held: HeldLease = new HeldLease(lease, this.#service, {
      cancelled: () => attempt.stop('cancelled'),
      beat: () => attempt.renew(),
    });
    const report: Report = (kind, error) => this.#report({ kind, error, taskId, taskType, attempt: number });
    const attempt = new Attempt(held, report);
    if (this.#stop.signal.aborted) attempt.stop('released');
    const run = async () => {
      // A lease that is no longer alive is no problem: another worker has the task.
      const isAlive =
        held.begin(serviceTime) ||
        (await attempt.renew().then(
          () => true,
          () => false,
        ));
      if (isAlive) await attempt.run(handler, leasedTask(lease, exact));
    };
    const over = run()
      .catch((error: unknown) => report('handler_failed', error))
      .finally(() => {
        held.close();
        this.#running.delete(attempt);
      });
    this.#running.set(attempt, over);
  }

  private async pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}
