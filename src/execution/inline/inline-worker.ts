import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Attempt, type LeasedTask, type Report } from '#handler/attempt.js';
import type { JsonObject, SuspendAnswer } from '#handler/task-handler.js';
import { SYSTEM_PRINCIPAL_ID } from '../../auth/auth-context.js';
import { Database } from '../../database/database.js';
import { within } from '../../deadline.js';
import { DrainState } from '../../drain-state.js';
import { JsonText } from '../../json/json-text.js';
import { treeOf } from '../../json/json-tree.js';
import { resumedStory, runInStory } from '../../observability/correlation.js';
import { Log } from '../../observability/log.js';
import { inSpan } from '../../observability/observer.js';
import { Trouble } from '../../observability/trouble.js';
import { Rounds } from '../../rounds.js';
import { AttachFile } from '../../tasks/attach-file.js';
import { ClaimTasks } from '../../tasks/claim-tasks.js';
import type { Lease } from '../../tasks/domain/lease.js';
import { EndAttempt } from '../../tasks/end-attempt.js';
import type { Room } from '../../tasks/ports/task-executor.js';
import { payloadOf } from '../../tasks/store/suspensions.js';
import { checkLeases, renewLeases } from '../../tasks/store/renew-leases.js';
import { TasksConfig } from '../../tasks/tasks.config.js';
import { AttachmentStore } from '../../uploads/attachment-store.js';
import { AppendWorkerEvents } from '../append-worker-events.js';
import { ExecutionConfig } from '../execution.config.js';
import { FinishWorkerStep } from '../finish-worker-step.js';
import { Handlers } from '../handlers.js';
import { type HeldWith, InlineLease } from './inline-lease.js';
import { OwnLeases } from '../own-leases.js';
import { WaitingClaims } from '../waiting-claims.js';

/** The most tasks of one claim. */
const MAX_BLOCK = 200;
/** How long one wait for work lasts at most; what ends it sooner is work. */
const WAIT_MS = 60_000;
/** How soon a cancellation that came in elsewhere is noticed. */
const WATCH_MS = 100;
/** How long a handler may take to obey when the worker stops. Well within the time that a service has to end. */
const OBEY_WITHIN_MS = 5_000;

/** What the log calls what the runner reports. */
const EVENTS = { handler_failed: 'handler.failed', call_refused: 'handler.refused' } as const;
/** How long it may take then to hand back what still runs. PostgreSQL may be away. */
const HAND_BACK_WITHIN_MS = 2_000;

interface Running {
  readonly taskId: string;
  readonly attempt: Attempt;
  readonly lease: InlineLease;
  /** Resolves when the lease is over. */
  readonly over: Promise<void>;
}

/** A worker in this process: the same claims, leases and fences as a remote one, without HTTP. */
@Injectable()
export class InlineWorker extends OwnLeases {
  readonly #workerId = `inline:${randomUUID()}`;
  readonly #running = new Map<string, Running>();
  /** The tokens of attempts whose handlers run. The ends of others are on their way to PostgreSQL. */
  readonly #handling = new Set<string>();
  /** Places of leases on their way to this worker: of claims, and of new tasks. */
  #kept = 0;
  readonly #rooms = new Set<Promise<void>>();
  #claiming: Promise<void> | undefined;
  /** Whether tasks may wait that no claim has looked for. */
  #mayWait = false;
  /** Whether the last claim got as many tasks as it asked for. */
  #wasFilled = false;
  readonly #looks = new Rounds(
    () => this.watch(),
    () => WATCH_MS,
  );
  /** No Rounds: a renewal that gets no answer must not delay the next one. */
  #renewals: NodeJS.Timeout | undefined;
  #waits: Promise<void> | undefined;
  readonly #claimTrouble: Trouble;
  readonly #heldWith: HeldWith;

  constructor(
    private readonly handlers: Handlers,
    private readonly waiting: WaitingClaims,
    private readonly claimTasks: ClaimTasks,
    appendEvents: AppendWorkerEvents,
    finishStep: FinishWorkerStep,
    attachFile: AttachFile,
    endAttempt: EndAttempt,
    attachments: AttachmentStore,
    private readonly database: Database,
    private readonly tasks: TasksConfig,
    private readonly config: ExecutionConfig,
    private readonly log: Log,
    private readonly drain: DrainState,
  ) {
    super();
    const { exposeHandlerErrors: exposesErrors } = config;
    this.#heldWith = { appendEvents, finishStep, attachFile, endAttempt, attachments, database, tasks, exposesErrors };
    this.#claimTrouble = new Trouble(log, 'inline_worker.claim_failed', 'inline_worker.claim_recovered');
  }

  start(): void {
    if (this.handlers.taskTypes.length === 0) return;
    this.#looks.start();
    this.#renewals = setInterval(() => void this.renew(), (this.tasks.leaseSeconds * 1000) / 3);
    this.#waits = this.waitForWork();
  }

  /** Places for all new tasks of these types that have a handler here; undefined where not all of them may begin. */
  roomFor(taskTypes: readonly string[]): Room | undefined {
    const count = taskTypes.filter((taskType) => this.handlers.has(taskType)).length;
    return this.mayBegin && count > 0 && count <= this.free ? this.keep(count) : undefined;
  }

  private keep(count: number): Room {
    const askedAt = performance.now();
    const { promise: over, resolve } = Promise.withResolvers<void>();
    this.#kept += count;
    this.#rooms.add(over);
    return {
      worker: { workerId: this.#workerId, principalId: SYSTEM_PRINCIPAL_ID },
      takes: (taskType) => this.handlers.has(taskType),
      fill: (leases) => {
        this.#kept -= count;
        for (const lease of leases) this.begin(lease, askedAt);
        this.#rooms.delete(over);
        resolve();
        this.claimSoon();
      },
    };
  }

  private get mayBegin(): boolean {
    return !this.drain.workEnds.aborted && this.#looks.areWanted;
  }

  /** Something may be claimable. */
  private look(): void {
    this.#mayWait = true;
    this.claimSoon();
  }

  /** Claims what may wait, when there is a place for it. */
  private claimSoon(): void {
    if (!this.#mayWait || !this.mayBegin || this.free <= 0) return;
    this.#claiming ??= this.claim().finally(() => {
      this.#claiming = undefined;
      this.claimSoon();
    });
  }

  cancel(taskId: string): void {
    for (const running of this.#running.values()) {
      if (running.taskId === taskId) running.attempt.stop('cancelled');
    }
  }

  override get isBehind(): boolean {
    return [...this.#running.values()].some(({ lease }) => lease.isOverAt(performance.now()));
  }

  /** Aborts what runs and hands it back: another replica, or the next start, goes on with it at once. */
  async stop(obeyWithinMs = OBEY_WITHIN_MS): Promise<void> {
    this.drain.reach('work ends');
    await this.#waits;
    await Promise.all([this.#claiming, ...this.#rooms]);
    const running = [...this.#running.values()];
    for (const { attempt } of running) attempt.stop('released');
    const over = Promise.all(running.map((one) => one.over));
    await within(obeyWithinMs, over);
    for (const { attempt } of this.#running.values()) void attempt.abandon();
    await within(HAND_BACK_WITHIN_MS, over);
    for (const { attempt } of this.#running.values()) attempt.stop('lease_lost');
    await over;
    clearInterval(this.#renewals);
    await this.#looks.stop();
  }

  private async waitForWork(): Promise<void> {
    while (!this.drain.workEnds.aborted) {
      this.look();
      await this.waiting.wait(this.handlers.taskTypes, WAIT_MS, this.drain.workEnds);
    }
  }

  /**
   * How many handlers may begin. The next block is claimed while the ends of the last one are stored, so neither waits for the other.
   * No more than a second block may have its ends under way: PostgreSQL may be away.
   */
  private get free(): number {
    const { inlineConcurrency } = this.config;
    const most = Math.min(inlineConcurrency - this.#handling.size, 2 * inlineConcurrency - this.#running.size);
    return most - this.#kept;
  }

  private async claim(): Promise<void> {
    while (this.#mayWait && this.mayBegin && this.free > 0) {
      this.#mayWait = false;
      // Where little waits, the other half is for tasks that are created meanwhile: they would have to wait for the next claim.
      const limit = Math.min(this.#wasFilled ? this.free : Math.ceil(this.free / 2), MAX_BLOCK);
      const room = this.keep(limit);
      let leases: readonly Lease[] = [];
      try {
        leases = await this.claimTasks.execute(room.worker, this.handlers.taskTypes, limit, { steps: true });
        this.#claimTrouble.worked();
        if (leases.length > 0) this.#mayWait = true;
        this.#wasFilled = leases.length === limit;
      } catch (error) {
        // The next poll tries again; what was claimed although the answer was lost comes back when its lease ends.
        this.#claimTrouble.failed(error);
      }
      room.fill(leases);
    }
  }

  private begin(given: Lease, askedAt: number): void {
    const { identity, token } = given;
    const { taskId, taskType, correlationId } = identity;
    const report = this.reportOf(given);
    const done = () => {
      if (this.#handling.delete(token)) this.claimSoon();
    };
    const lease = new InlineLease(given, this.#heldWith, askedAt, () => attempt.stop('cancelled'), done);
    const attempt = new Attempt(lease, report);
    const handler = this.handlers.of(taskType);
    const causationId = String(given.headEventId);
    const story = resumedStory({ correlationId, causationId, traceparent: given.traceparent });
    const about = { principalId: SYSTEM_PRINCIPAL_ID, taskId };
    const run = async () => attempt.run(handler, await leasedTask(given));
    const over = runInStory(story, () => inSpan('tasks.attempt', about, run))
      .catch((error: unknown) => report('handler_failed', error))
      .finally(() => {
        this.#running.delete(token);
        this.#handling.delete(token);
        this.claimSoon();
      });
    this.#handling.add(token);
    this.#running.set(token, { taskId, attempt, lease, over });
  }

  private reportOf({ identity: { taskId, taskType }, attempt }: Lease): Report {
    // Undefined may be thrown, too.
    return (kind, error) => this.log.error({ taskId, taskType, attempt, err: error ?? null }, EVENTS[kind]);
  }

  /** Signs of life for all that runs, in one statement. */
  private async renew(): Promise<void> {
    if (this.#running.size === 0) return;
    const sentAt = performance.now();
    const held = this.held();
    const renewals = await renewLeases(this.database, held, this.tasks.leaseSeconds).catch(() => []);
    for (const [i, { leaseToken }] of held.entries()) {
      if (renewals[i]?.outcome === 'renewed') this.#running.get(leaseToken)?.lease.renewedAt(sentAt);
    }
  }

  /** Looks for cancellations that came in elsewhere, and for leases that are no longer ours. */
  private async watch(): Promise<void> {
    if (this.#running.size === 0) return;
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
      for (const { attempt, lease } of this.#running.values()) {
        if (lease.isOverAt(askedAt)) attempt.stop('lease_lost');
      }
    }
  }

  private held() {
    return [...this.#running.values()].map(({ lease }) => lease.held);
  }
}

/** What came as text, as the trees that a handler is promised. */
async function leasedTask({
  identity,
  attempt,
  input,
  metadata,
  answers,
  attachments,
  traceparent,
  headEventId,
  steps,
}: Lease): Promise<LeasedTask> {
  const { taskId, taskType } = identity;
  return {
    taskId,
    taskType,
    attempt,
    input: ((input && (await treeOf(input))) ?? {}) as JsonObject,
    metadata: ((metadata && (await treeOf(metadata))) ?? {}) as JsonObject,
    attachments,
    traceparent,
    headEventId,
    ...(steps && { steps: steps.map(({ key, result }) => ({ key, resultJson: result.json })) }),
    answers: (await Promise.all(answers.map((answer) => treeOf(answer)))) as unknown as readonly SuspendAnswer[],
    texts: {
      input: () => input?.json ?? '{}',
      metadata: () => metadata?.json ?? '{}',
      payload: (index) => payloadOf(answers[index] ?? new JsonText('{}')),
    },
  };
}
