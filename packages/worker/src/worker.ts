import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { Attempt, type Report } from '../../handler/src/attempt.js';
import { definitionOf } from '../../handler/src/define-task.js';
import { backoffMs } from '../../handler/src/backoff.js';
import type { TaskHandler, TaskHandlers } from '../../handler/src/task-handler.js';
import type { Feature } from '../../protocol/src/features.js';
import { patternOf, WORKER_VERSION } from '../../protocol/src/ids.js';
import { MAX_TASKS } from '../../protocol/src/limits.js';
import { Heartbeats } from './heartbeats.js';
import { HeldLease } from './held-lease.js';
import { type GivenLease, leasedTask, leasesIn } from './lease.js';
import { Service } from './service.js';
import { Signals } from './signals.js';
import { printProblem, type WorkerProblem } from './worker-problem.js';

/** How long one claim waits for a task, held open by the service. */
const WAIT_MS = 20_000;
/** How much longer its answer may take. */
const ANSWER_MS = 10_000;
const LONGEST_BACKOFF_MS = 5_000;
/** Half of what `docker stop` leaves, so that there is time to hand back what does not obey. */
const DRAIN_TIMEOUT_MS = 5_000;
const SIGNALS = ['SIGTERM', 'SIGINT'] as const;
/** What this package uses where the service has it. */
const KNOWN: readonly Feature[] = ['heartbeats', 'leaseSeconds', 'policies', 'signals', 'steps'];
/** How often the service is asked whether it knows signals. */
const NO_SIGNALS_MS = 5_000;
const A_VERSION = patternOf(WORKER_VERSION);

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
  /**
   * Of your program, for the operators of the service: 1 to 64 visible ASCII characters. Defaults to none. The policies of `defineTask`
   * are registered under it, and without it they are not.
   */
  readonly version?: string;
  /** How long its leases last without a sign of life, where the service lets workers choose. Defaults to the service's LEASE_SECONDS. */
  readonly leaseSeconds?: number;
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
  /** By type; undefined where no handler has one. */
  readonly #policies: Readonly<Record<string, object>> | undefined;
  readonly #concurrency: number;
  readonly #service: Service;
  readonly #report: (problem: WorkerProblem) => void;
  readonly #heartbeats: Heartbeats;
  readonly #signals: Signals;
  #isListening = false;
  readonly #running = new Map<Attempt, { readonly taskId: string; readonly over: Promise<void> }>();
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
    const { version, leaseSeconds } = options;
    if (version !== undefined && !A_VERSION.test(version)) throw new TypeError(`version: ${WORKER_VERSION.title}`);
    if (leaseSeconds !== undefined && !(Number.isInteger(leaseSeconds) && leaseSeconds > 0))
      throw new TypeError('leaseSeconds: a whole number from 1');
    this.#service = new Service(url, token);
    this.#heartbeats = new Heartbeats(this.#service);
    this.#taskTypes = taskTypes;
    this.#policies = policiesOf(taskTypes, handlers);
    this.#concurrency = concurrency;
    this.#report = options.report ?? printProblem;
    this.workerId =
      workerId ??
      `${hostname()
        .replace(/[^\x21-\x7e]/g, '-')
        .slice(0, 80)}:${randomUUID()}`;
    this.#signals = new Signals(this.#service, this.workerId, (taskId) => this.cancelled(taskId));
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
      while (this.#running.size >= this.#concurrency) {
        await Promise.race(this.overs());
        // Tasks that end in this turn of the event loop make room for one claim, and not for one each.
        await turn();
      }
      if (signal.aborted) break;
      try {
        await this.claim(signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        this.#service.forgetFeatures();
        if (failures === 0) this.#report({ kind: 'claim_failed', error });
        await this.pause(backoffMs(failures, LONGEST_BACKOFF_MS));
        failures += 1;
      }
    }
    await Promise.all(this.overs());
    this.finish();
  }

  private overs(): readonly Promise<void>[] {
    return [...this.#running.values()].map(({ over }) => over);
  }

  /** Whether the task runs here. */
  private cancelled(cancelled: string): boolean {
    const attempts = [...this.#running].filter(([, { taskId }]) => taskId === cancelled);
    for (const [attempt] of attempts) attempt.stop('cancelled');
    return attempts.length > 0;
  }

  /** While something runs. A call that waits stays open between two tasks. Without signals, heartbeats bring cancellations. */
  private async listen(): Promise<void> {
    const { signal } = this.#stop;
    this.#isListening = true;
    for (let failures = 0; this.#running.size > 0 && !signal.aborted; ) {
      try {
        const goesOn = await this.#signals.wait(signal);
        if (!goesOn) await this.pause(goesOn === undefined ? NO_SIGNALS_MS : 500 + 500 * Math.random());
        failures = 0;
      } catch {
        await this.pause(backoffMs(failures, LONGEST_BACKOFF_MS));
        failures += 1;
      }
    }
    this.#isListening = false;
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
    const claim = {
      workerId: this.workerId,
      taskTypes: this.#taskTypes,
      maxTasks,
      waitTimeoutMs: WAIT_MS,
      ...(await this.additions(signal)),
    };
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

  /** What not every release takes in a claim. */
  private async additions(signal: AbortSignal): Promise<object> {
    const { version, leaseSeconds } = this.options;
    const knows = (feature: Feature) => this.#service.knows(feature, signal);
    return {
      ...((await knows('steps')) && { steps: true }),
      ...(leaseSeconds !== undefined && (await knows('leaseSeconds')) && { leaseSeconds }),
      ...((await knows('registration')) && { features: KNOWN, ...(version !== undefined && { version }) }),
      ...(version !== undefined && this.#policies && (await knows('policies')) && { policies: this.#policies }),
    };
  }

  private begin({ lease, exact }: GivenLease, serviceTime: number): void {
    const handler = this.#handlers.get(lease.taskType) as TaskHandler;
    const { taskId, taskType, attempt: number } = lease;
    const held: HeldLease = new HeldLease(lease, this.#service, this.#heartbeats, {
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
        this.#signals.forget(taskId);
      });
    this.#running.set(attempt, { taskId, over });
    if (!this.#isListening) void this.listen();
  }

  private async pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}

/** What the service may learn from a worker: only the service itself knows pauses between attempts. */
function policiesOf(
  taskTypes: readonly string[],
  handlers: TaskHandlers,
): Readonly<Record<string, object>> | undefined {
  const policies = taskTypes.flatMap((taskType) => {
    const { backoff: _, ...policy } = definitionOf(handlers[taskType] as TaskHandler)?.policy ?? {};
    return Object.keys(policy).length > 0 ? [[taskType, policy] as const] : [];
  });
  return policies.length > 0 ? Object.fromEntries(policies) : undefined;
}
