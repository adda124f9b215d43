import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { resumedStory, runInStory } from '../observability/correlation.js';
import { Log } from '../observability/log.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Trouble } from '../observability/trouble.js';
import { Rounds } from '../rounds.js';
import { EndLostAttempts, LOST_WORK, type LostWork } from '../tasks/end-lost-attempts.js';
import { forgetOldRows, keepCounts } from '../tasks/store/keep-up.js';
import { TasksConfig } from '../tasks/tasks.config.js';
import type { Written } from '../tasks/task-writer.js';
import { OwnLeases } from './own-leases.js';

/** The pause between two rounds, and so the delay of a lost attempt's end. */
const EVERY_MS = 500;
/** How often the counts of tasks are folded. Rows that are over are looked for in every twelfth of these rounds. */
const UPKEEP_MS = 5_000;
const FORGET_EVERY = 12;
/**
 * How long a failed kind of work has to succeed before it counts as recovered. It recovers at once when it ends a task. A round
 * without a task proves little: another replica may have had the rows.
 */
const PROVEN_AFTER_MS = 2_000;

/** How often a holder that lives sends a renewal within a lease. */
const RENEWALS_OF_A_LEASE = 3;
/** Renewals for which a process that stood still waits. With one, a holder on a busy machine would be a moment too late. */
const PATIENCE_RENEWALS = 2;

type Work = LostWork | 'upkeep';

/**
 * Ends attempts without a living worker, overdue cancellations and expired questions. It also folds counts and deletes rows that
 * are needed no more. Every replica has a reaper, and reapers do not block each other.
 */
@Injectable()
export class Reaper {
  /** Of each kind: none waits for another. */
  readonly #rounds: readonly Rounds[];
  /** The failing kinds of work, with the time of the last failure. */
  readonly #failing = new Map<Work, number>();
  readonly #trouble: Trouble;
  readonly #renewalMs: number;
  /** Until then, in milliseconds of `performance.now()`, this reaper takes no lease from its holder. */
  #patientUntil = 0;
  #upkeepRounds = 0;

  constructor(
    private readonly database: Database,
    private readonly endLostAttempts: EndLostAttempts,
    private readonly log: Log,
    private readonly metrics: MetricsSink,
    private readonly ownLeases: OwnLeases,
    tasks: TasksConfig,
  ) {
    this.#renewalMs = (tasks.leaseSeconds * 1000) / RENEWALS_OF_A_LEASE;
    this.#trouble = new Trouble(log, 'reaper.failed', 'reaper.recovered');
    const pauseMs = () => EVERY_MS * (0.75 + Math.random() / 2);
    this.#rounds = [
      ...LOST_WORK.map((work) => new Rounds((dueAt) => this.reap(work, dueAt), pauseMs)),
      new Rounds(
        () => this.keepUp(),
        () => UPKEEP_MS * (0.75 + Math.random() / 2),
      ),
    ];
  }

  start(): void {
    for (const work of [...LOST_WORK, 'upkeep'] as const) this.metrics.set('reaper_failing', 0, { work });
    for (const rounds of this.#rounds) rounds.start(EVERY_MS * Math.random());
  }

  async stop(): Promise<void> {
    await Promise.all(this.#rounds.map((rounds) => rounds.stop()));
  }

  /**
   * Whether this process stood still within the last two renewals. Leases that expired meanwhile are left alone, because
   * renewals come first: its own, and those that wait in its sockets. Other replicas do not wait.
   */
  private get isPatient(): boolean {
    return performance.now() < this.#patientUntil || this.ownLeases.isBehind;
  }

  /** Begins the patience when the round is later than holders renew: this process stood still. */
  private noteDelay(dueAt: number): void {
    const now = performance.now();
    if (now - dueAt > this.#renewalMs) this.#patientUntil = now + PATIENCE_RENEWALS * this.#renewalMs;
  }

  private async reap(work: LostWork, dueAt: number): Promise<void> {
    try {
      const ended = await this.endLostAttempts.execute([work], () => {
        this.noteDelay(dueAt);
        return this.isPatient;
      });
      for (const one of ended) {
        if (work === 'expired_tasks') this.metrics.increment('tasks_expired_total');
        this.tell(one);
      }
      this.worked(work, ended.length > 0);
    } catch (error) {
      this.failed(work, error);
    }
  }

  private async keepUp(): Promise<void> {
    try {
      await keepCounts(this.database);
      if (this.#upkeepRounds % FORGET_EVERY === 0) await forgetOldRows(this.database);
      this.#upkeepRounds += 1;
      this.worked('upkeep', true);
    } catch (error) {
      this.failed('upkeep', error);
    }
  }

  private failed(work: Work, error: unknown): void {
    this.#failing.set(work, performance.now());
    this.metrics.set('reaper_failing', 1, { work });
    this.#trouble.failed(error, { work });
  }

  private worked(work: Work, hasEnded: boolean): void {
    const failedAt = this.#failing.get(work);
    if (failedAt === undefined || (!hasEnded && performance.now() - failedAt < PROVEN_AFTER_MS)) return;
    this.#failing.delete(work);
    this.metrics.set('reaper_failing', 0, { work });
    if (this.#failing.size === 0) this.#trouble.worked();
  }

  /** Logs in the story of the task, where an operator looks for its end. */
  private tell({ record: { identity, task, traceparent }, after }: Written): void {
    const { taskId, taskType, correlationId } = identity;
    const story = resumedStory({ correlationId, traceparent, causationId: String(task.headEventId) });
    const fields = {
      taskId,
      taskType,
      attempt: after.attempt,
      eventId: String(after.headEventId),
      outcome: after.status,
    };
    runInStory(story, () => this.log.warn(fields, 'reaper.attempt_ended'));
  }
}
