import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { SYSTEM_PRINCIPAL_ID } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { resumedStory, runInStory } from '../observability/correlation.js';
import { Log } from '../observability/log.js';
import { inSpan } from '../observability/observer.js';
import { Trouble } from '../observability/trouble.js';
import { AppendEvents } from '../tasks/append-events.js';
import { ClaimTasks, type Lease } from '../tasks/claim-tasks.js';
import type { NewEvent } from '../tasks/domain/task-event.js';
import { LeaseLost } from '../tasks/domain/tasks.errors.js';
import { EndAttempt, type Ending } from '../tasks/end-attempt.js';
import { checkLeases, renewLease, renewLeases, type HeldLease } from '../tasks/store/renew-leases.js';
import { TasksConfig } from '../tasks/tasks.config.js';
import { AttachmentStore } from '../uploads/attachment-store.js';
import { Attempt, type LeaseHolder } from './attempt.js';
import { ExecutionConfig } from './execution.config.js';
import { Handlers } from './handlers.js';
import { WaitingClaims } from './waiting-claims.js';

/** How long one wait for work lasts at most; what ends it sooner is work. */
const WAIT_MS = 60_000;
/** How soon a cancellation that came in elsewhere is noticed. */
const WATCH_MS = 100;
/** How long a handler may take to obey when the worker stops. Well within the time that a service has to end. */
const OBEY_WITHIN_MS = 5_000;

interface Running {
  readonly attempt: Attempt;
  /** Resolves when the lease is over. */
  readonly over: Promise<void>;
  /** By this process's own clock, from before the lease was asked for: never later than what the database thinks. */
  leaseEndsAt: number;
}

/** A worker in this process: the same claims, leases and fences as a remote one, without HTTP. */
@Injectable()
export class InlineWorker implements LeaseHolder {
  readonly #workerId = `inline:${randomUUID()}`;
  readonly #running = new Map<string, Running>();
  #claiming: Promise<void> | undefined;
  #claimAgain = false;
  #timers: NodeJS.Timeout[] = [];
  readonly #stop = new AbortController();
  #waits: Promise<void> | undefined;
  #stopping = false;
  #watching = false;
  readonly #claimTrouble: Trouble;

  constructor(
    private readonly handlers: Handlers,
    private readonly waiting: WaitingClaims,
    private readonly claimTasks: ClaimTasks,
    private readonly appendEvents: AppendEvents,
    private readonly endAttempt: EndAttempt,
    private readonly attachments: AttachmentStore,
    private readonly database: Database,
    private readonly tasks: TasksConfig,
    private readonly config: ExecutionConfig,
    private readonly log: Log,
  ) {
    this.#claimTrouble = new Trouble(log, 'inline_worker.claim_failed', 'inline_worker.claim_recovered');
  }

  start(): void {
    if (!this.config.inline || this.handlers.taskTypes.length === 0) return;
    this.#timers = [
      setInterval(() => void this.watch(), WATCH_MS),
      setInterval(() => void this.renew(), (this.tasks.leaseSeconds * 1000) / 3),
    ];
    this.#waits = this.waitForWork();
  }

  /** Something may be claimable. */
  private look(): void {
    if (this.#stopping || this.#timers.length === 0) return;
    this.#claimAgain = true;
    this.#claiming ??= this.claim().finally(() => {
      this.#claiming = undefined;
    });
  }

  cancel(taskId: string): void {
    for (const { attempt } of this.#running.values()) {
      if (attempt.lease.identity.taskId === taskId) attempt.stop('cancelled');
    }
  }

  /** Whether a lease is over by this process's own clock, and neither renewed nor lost yet. */
  get isBehind(): boolean {
    return [...this.#running.values()].some(({ leaseEndsAt }) => performance.now() > leaseEndsAt);
  }

  /** Aborts what runs and hands it back: another replica, or the next start, goes on with it at once. */
  async stop(obeyWithinMs = OBEY_WITHIN_MS): Promise<void> {
    this.#stopping = true;
    this.#stop.abort();
    await this.#waits;
    await this.#claiming;
    const running = [...this.#running.values()];
    for (const { attempt } of running) attempt.stop('released');
    const over = Promise.all(running.map((one) => one.over));
    await Promise.race([over, delay(obeyWithinMs, undefined, { ref: false })]);
    await Promise.all([...this.#running.values()].map(({ attempt }) => attempt.abandon()));
    await over;
    for (const timer of this.#timers) clearInterval(timer);
  }

  async append(lease: Lease, batchSeq: number, events: readonly NewEvent[]): Promise<void> {
    const sentAt = performance.now();
    const receipt = await this.underLease(lease, () =>
      this.appendEvents.execute({
        taskId: lease.identity.taskId,
        leaseToken: lease.token,
        batchSeq,
        events,
        principalId: SYSTEM_PRINCIPAL_ID,
      }),
    );
    this.renewed(lease.token, sentAt);
    if (receipt.cancellationRequested) this.#running.get(lease.token)?.attempt.stop('cancelled');
  }

  end(lease: Lease, ending: Ending): Promise<unknown> {
    const { taskId } = lease.identity;
    return this.underLease(lease, () => this.endAttempt.execute(taskId, ending, { principalId: SYSTEM_PRINCIPAL_ID }));
  }

  open(attachmentId: string): Promise<Readable> {
    return this.attachments.open(attachmentId);
  }

  report({ identity, attempt }: Lease, error: unknown): void {
    const { taskId, taskType } = identity;
    // Undefined may be thrown, too.
    this.log.error({ taskId, taskType, attempt, err: error ?? null }, 'handler.failed');
  }

  /** What is refused because the lease has expired is sent again, the same, once the lease is renewed: nobody took it. */
  private async underLease<T>(lease: Lease, call: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await call();
      } catch (error) {
        if (!(error instanceof LeaseLost)) throw error;
        const held = { taskId: lease.identity.taskId, leaseToken: lease.token };
        if (!(await renewLease(this.database, held, this.tasks.leaseSeconds))) throw error;
      }
    }
  }

  private async waitForWork(): Promise<void> {
    while (!this.#stopping && !this.waiting.stopped) {
      this.look();
      await this.waiting.wait(this.handlers.taskTypes, WAIT_MS, this.#stop.signal);
    }
  }

  private async claim(): Promise<void> {
    while (this.#claimAgain && !this.#stopping) {
      this.#claimAgain = false;
      const free = this.config.inlineConcurrency - this.#running.size;
      if (free <= 0) return;
      const askedAt = performance.now();
      const worker = { workerId: this.#workerId, principalId: SYSTEM_PRINCIPAL_ID };
      try {
        const leases = await this.claimTasks.execute(worker, this.handlers.taskTypes, Math.min(free, 50));
        this.#claimTrouble.worked();
        for (const lease of leases) this.begin(lease, askedAt);
        if (leases.length > 0) this.#claimAgain = true;
      } catch (error) {
        // The next poll tries again; what was claimed although the answer was lost comes back when its lease ends.
        this.#claimTrouble.failed(error);
      }
    }
  }

  private begin(lease: Lease, askedAt: number): void {
    const attempt = new Attempt(lease, this, this.tasks.maxEventPayloadBytes);
    const handler = this.handlers.of(lease.identity.taskType);
    const story = resumedStory({
      correlationId: lease.identity.correlationId,
      causationId: String(lease.headEventId),
      traceparent: lease.traceparent,
    });
    const about = { principalId: SYSTEM_PRINCIPAL_ID, taskId: lease.identity.taskId };
    const over = runInStory(story, () => inSpan('tasks.attempt', about, () => attempt.run(handler)))
      .catch((error: unknown) => this.report(lease, error))
      .finally(() => {
        this.#running.delete(lease.token);
        this.look();
      });
    this.#running.set(lease.token, { attempt, over, leaseEndsAt: askedAt + this.tasks.leaseSeconds * 1000 });
  }

  /** Signs of life for all that runs, in one statement. */
  private async renew(): Promise<void> {
    if (this.#running.size === 0) return;
    const sentAt = performance.now();
    const renewed = await renewLeases(this.database, this.held(), this.tasks.leaseSeconds).catch(() => []);
    for (const token of renewed) this.renewed(token, sentAt);
  }

  private renewed(token: string, sentAt: number): void {
    const running = this.#running.get(token);
    if (running) running.leaseEndsAt = Math.max(running.leaseEndsAt, sentAt + this.tasks.leaseSeconds * 1000);
  }

  /** Looks for cancellations that came in elsewhere, and for leases that are no longer ours. */
  private async watch(): Promise<void> {
    if (this.#watching || this.#running.size === 0) return;
    this.#watching = true;
    const askedAt = performance.now();
    // This process stood still, or PostgreSQL did: what nobody took meanwhile is renewed at once, and does not wait for its turn.
    if (this.isBehind) void this.renew();
    const held = this.held();
    try {
      const states = new Map((await checkLeases(this.database, held)).map((state) => [state.leaseToken, state]));
      for (const { leaseToken } of held) {
        const state = states.get(leaseToken);
        if (!state) this.#running.get(leaseToken)?.attempt.stop('lease_lost');
        else if (state.cancellationRequested) this.#running.get(leaseToken)?.attempt.stop('cancelled');
      }
    } catch {
      // PostgreSQL does not answer. The executor that claims the task next must be the only one to run it. A question from before
      // the end of the lease proves nothing: its time may have run out while this process stood still.
      for (const { attempt, leaseEndsAt } of this.#running.values()) {
        if (askedAt > leaseEndsAt) attempt.stop('lease_lost');
      }
    } finally {
      this.#watching = false;
    }
  }

  private held(): HeldLease[] {
    return [...this.#running.values()].map(({ attempt: { lease } }) => ({
      taskId: lease.identity.taskId,
      leaseToken: lease.token,
    }));
  }
}
