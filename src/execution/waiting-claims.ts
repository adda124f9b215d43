import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { DrainState } from '../drain-state.js';
import { Rounds } from '../rounds.js';
import { HeldTasks } from '../tasks/held-tasks.js';
import { PlanSqlTasks } from '../tasks/plan-sql-tasks.js';
import { QueueOrder } from '../tasks/queue-order.js';
import { waitingTaskTypes } from '../tasks/store/lock-tasks.js';

/** How soon a task gets its place in the queue that has none: one whose backoff is over, or one of release 0.1.0. */
const PLACE_MS = 250;
/** A waiting claim looks in every second of these rounds: it finds tasks of other replicas. */
const LOOK_EVERY = 2;

interface Waiter {
  readonly taskTypes: ReadonlySet<string>;
  /** It takes tasks of some tenants only. Whether a task is for it, only its query can tell. */
  readonly isForSome: boolean;
  /** Without it, a task with a finished step is not for it. */
  readonly knowsSteps: boolean;
  /** Called with whether there may be a task. */
  readonly wake: (maybe: boolean) => void;
}

/**
 * All claims that wait on this replica. They hold no connection, and one query now and then serves all of them. A task that this
 * replica accepted wakes one of them at once. A claim that finds a task wakes the next one.
 */
@Injectable()
export class WaitingClaims {
  readonly #waiters = new Set<Waiter>();
  readonly #rounds = new Rounds(
    () => this.round(),
    () => PLACE_MS,
  );
  readonly #looksForRoom = new Rounds(
    () => this.lookForRoom(),
    () => this.held.pauseMs,
  );
  #count = 0;

  constructor(
    private readonly database: Database,
    private readonly order: QueueOrder,
    private readonly held: HeldTasks,
    private readonly sqlTasks: PlanSqlTasks,
    private readonly drain: DrainState,
  ) {
    held.onRoom(() => this.#looksForRoom.hurry());
  }

  start(): void {
    this.#rounds.start();
    this.#looksForRoom.start();
  }

  async stop(): Promise<void> {
    this.drain.reach('work ends');
    const stopped = Promise.all([this.#rounds.stop(), this.#looksForRoom.stop()]);
    for (const waiter of [...this.#waiters]) waiter.wake(false);
    await stopped;
  }

  /** Whether each of these types has a waiting claim that would take any task of it. */
  isWaitedFor(taskTypes: readonly string[], knowsSteps: boolean): boolean {
    const waiters = [...this.#waiters].filter((waiter) => waiter.knowsSteps || !knowsSteps);
    return taskTypes.every((taskType) => waiters.some((waiter) => !waiter.isForSome && waiter.taskTypes.has(taskType)));
  }

  /**
   * Resolves when a task of one of the types may be claimable, when the time is over, or when the signal aborts. @returns whether
   * there may be a task
   */
  async wait(
    taskTypes: readonly string[],
    timeoutMs: number,
    signal: AbortSignal,
    { isForSome = false, knowsSteps = true }: Partial<Pick<Waiter, 'isForSome' | 'knowsSteps'>> = {},
  ): Promise<boolean> {
    if (this.drain.workEnds.aborted || signal.aborted) return false;
    return new Promise((resolve) => {
      const leave = (maybe: boolean) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
        this.#waiters.delete(waiter);
        resolve(maybe);
      };
      const abort = () => leave(false);
      const waiter = { taskTypes: new Set(taskTypes), isForSome, knowsSteps, wake: leave };
      const timer = setTimeout(abort, timeoutMs);
      signal.addEventListener('abort', abort);
      this.#waiters.add(waiter);
    });
  }

  /**
   * A task of this type may be claimable. Wakes the claim that has waited longest for this type. Claims for some tenants wake, too:
   * the task may be for one of them, or for none. `hasSteps`: only a claim that knows steps can take it.
   */
  notify(taskType: string, hasSteps = false): void {
    for (const waiter of [...this.#waiters]) {
      if (!waiter.taskTypes.has(taskType) || (hasSteps && !waiter.knowsSteps)) continue;
      waiter.wake(true);
      if (!waiter.isForSome) return;
    }
  }

  private async round(): Promise<void> {
    // PostgreSQL may be away. The next round does what this one did not.
    await this.sqlTasks.execute().catch(() => undefined);
    const placed = await this.order.round().catch(() => []);
    for (const taskType of placed) this.notify(taskType);
    this.#count += 1;
    if (this.#count % LOOK_EVERY === 0) await this.look();
  }

  private async lookForRoom(): Promise<void> {
    const found = await this.held.letGo().catch(() => []);
    for (const taskType of found) this.notify(taskType);
  }

  private async look(): Promise<void> {
    const wanted = new Set([...this.#waiters].flatMap(({ taskTypes }) => [...taskTypes]));
    if (wanted.size === 0) return;
    const found = await waitingTaskTypes(this.database, [...wanted]).catch(() => []);
    for (const taskType of found) this.notify(taskType);
  }
}
