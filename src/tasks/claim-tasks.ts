import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { isFaultOfData } from '../database/database.errors.js';
import { Database } from '../database/database.js';
import type { Queryable } from '../database/queryable.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { linkToStory } from '../observability/correlation.js';
import { LiveReplicas } from '../replicas/live-replicas.js';
import { BatchQueue } from './batch-queue.js';
import { nextAttempt } from './domain/decide.js';
import type { JsonText } from '../json/json-text.js';
import { hintChange, LiveLog } from './ports/live-log.js';
import { TaskPolicies } from './task-policies.js';
import { QueueOrder } from './queue-order.js';
import { claimBatch, type ClaimedTask, lockWaitingTasks, type Slot, type WantedTasks } from './store/claim-batch.js';
import { lockTasks } from './store/lock-tasks.js';
import { readSteps } from './store/steps.js';
import { readAnswers } from './store/suspensions.js';
import type { Lease, StoredStep } from './domain/lease.js';
import type { StoredEvent } from './domain/stored-event.js';
import { leaseSecret, leaseToken } from './domain/lease-token.js';
import { TaskWriter } from './task-writer.js';
import { TasksConfig } from './tasks.config.js';
import { TypeTurns } from './type-turns.js';

/** A new task that was stored as claimed. */
export interface BegunTask {
  readonly claimed: ClaimedTask;
  /** TASK_STARTED. */
  readonly event: StoredEvent;
}

/** What a caller may have of the tasks that wait. */
export interface Claimable {
  /** Absent: tasks of all tenants. */
  readonly tenants?: readonly string[] | undefined;
  /** Whether the caller knows steps. Else tasks with a finished step are not for it. */
  readonly steps?: boolean;
  /** How long its leases last without a sign of life. Absent: LEASE_SECONDS. */
  readonly leaseSeconds?: number | undefined;
}

interface ClaimRequest extends Required<Pick<Claimable, 'steps'>> {
  readonly id: string;
  readonly worker: { readonly workerId: string; readonly principalId: string };
  readonly taskTypes: readonly string[];
  readonly limit: number;
  readonly tenants: readonly string[] | undefined;
  readonly leaseSeconds: number | undefined;
}

/** `failed`: of this caller alone. What others got in the same batch is theirs. */
type ClaimOutcome =
  | { readonly outcome: 'claimed'; readonly tasks: readonly ClaimedTask[] }
  | { readonly outcome: 'failed'; readonly error: unknown };

type Claims = ReadonlyMap<ClaimRequest, ClaimOutcome>;

/** About as many leases as PostgreSQL makes in some seconds. */
const MAX_WAITING_LEASES = 20_000;
/** A larger batch is no faster, and makes all its callers wait longer. */
const MAX_BATCH_LEASES = 200;

/** Hands out waiting tasks in the order of their places, each to one caller. Claims that come together are one statement. */
@Injectable()
export class ClaimTasks {
  readonly #queue: BatchQueue<ClaimRequest, ClaimOutcome>;
  readonly #turns = new TypeTurns();

  constructor(
    private readonly writer: TaskWriter,
    private readonly database: Database,
    private readonly order: QueueOrder,
    private readonly policies: TaskPolicies,
    private readonly liveLog: LiveLog,
    private readonly config: TasksConfig,
    private readonly metrics: MetricsSink,
    private readonly replicas: LiveReplicas,
  ) {
    this.#queue = new BatchQueue((requests) => this.claim(requests), {
      keyOf: ({ id }) => id,
      sizeOf: ({ limit }) => limit,
      maxWaiting: MAX_WAITING_LEASES,
      maxBatch: MAX_BATCH_LEASES,
    });
  }

  /** @throws TooMuchWaiting, DatabaseUnavailable */
  async execute(
    worker: { readonly workerId: string; readonly principalId: string },
    taskTypes: readonly string[],
    limit: number,
    { tenants, steps = false, leaseSeconds }: Claimable = {},
  ): Promise<readonly Lease[]> {
    await this.order.load();
    await this.policies.load();
    const request = { id: randomUUID(), worker, taskTypes, limit, tenants, steps, leaseSeconds };
    const outcome = await this.#queue.push(request);
    if (outcome.outcome === 'failed') throw outcome.error;
    const { tasks } = outcome;
    // More leases than attempts: some leases followed an answer.
    const answered = tasks.filter(({ leaseNumber, attempt }) => leaseNumber > attempt);
    const answers =
      answered.length > 0
        ? await readAnswers(
            this.database,
            answered.map(({ identity }) => identity.taskId),
          )
        : new Map<string, readonly JsonText[]>();
    const finished = await this.stepsOf(tasks);
    const areStepsOn = steps && this.replicas.know('steps');
    return tasks.map((task) => {
      linkToStory(task.traceparent);
      const { taskId } = task.identity;
      return this.lease(task, answers.get(taskId) ?? [], finished.get(taskId) ?? (areStepsOn ? [] : undefined));
    });
  }

  /** The leases of new tasks that were stored as claimed, for a caller that knows steps. */
  begun(tasks: readonly BegunTask[]): readonly Lease[] {
    if (tasks.length > 0) this.liveLog.publish(tasks.map(({ event }) => event));
    this.served(tasks.map(({ claimed }) => claimed));
    const steps = this.replicas.know('steps') ? [] : undefined;
    return tasks.map(({ claimed }) => this.lease(claimed, [], steps));
  }

  private lease(
    { leaseNumber, hasSteps, waitedSeconds, place, ...lease }: ClaimedTask,
    answers: Lease['answers'],
    steps: Lease['steps'],
  ): Lease {
    this.metrics.observe('claim_lag_seconds', waitedSeconds);
    return { ...lease, answers, steps };
  }

  private async stepsOf(claimed: readonly ClaimedTask[]): Promise<ReadonlyMap<string, readonly StoredStep[]>> {
    const taskIds = claimed.filter(({ hasSteps }) => hasSteps).map(({ identity }) => identity.taskId);
    return taskIds.length > 0 ? readSteps(this.database, taskIds) : new Map<string, readonly StoredStep[]>();
  }

  private async claim(requests: readonly ClaimRequest[]): Promise<readonly ClaimOutcome[]> {
    const groups = Map.groupBy(requests, ({ taskTypes, tenants, steps }) =>
      JSON.stringify([[...taskTypes].sort(), tenants ?? null, steps]),
    );
    const claims = await Promise.all([...groups.values()].map((group) => this.claimFor(group)));
    const outcomes = new Map(claims.flatMap((some) => [...some]));
    return requests.map((request) => outcomes.get(request) ?? { outcome: 'claimed', tasks: [] });
  }

  /** Callers that may have the same tasks share them, as evenly as their limits allow. */
  private async claimFor(group: readonly ClaimRequest[]): Promise<Claims> {
    try {
      return await this.claimTogether(group);
    } catch (error) {
      if (isFaultOfData(error)) return this.claimOneByOne(group);
      return new Map(group.map((request) => [request, { outcome: 'failed', error }]));
    }
  }

  /** Returns none only when no task waits, also none without a place. Faulty tasks are set aside and do not block others. */
  private async claimTogether(group: readonly ClaimRequest[]): Promise<Claims> {
    const wanted = this.wantedBy(group);
    const callers = dealt(group);
    for (;;) {
      const slots = callers.map((caller) => this.slotFor(caller));
      const { tasks, events, unfit, held } = await claimBatch(this.database, wanted, slots);
      if (events.length > 0) this.liveLog.publish(events);
      for (const { identity } of tasks.values()) hintChange(this.liveLog, identity);
      const isEmpty = tasks.size === 0;
      if (unfit.length > 0) await this.setAside(unfit, isEmpty);
      if (isEmpty && (unfit.length > 0 || held > 0 || (await this.placed(wanted)))) continue;
      const byCaller = Map.groupBy(tasks, ([slot]) => callers[slot]);
      return new Map(
        group.map((request) => [request, this.claimed((byCaller.get(request) ?? []).map(([, task]) => task))]),
      );
    }
  }

  /** Where other tasks were claimed, they are leased now: the next claim meets these again. */
  private async setAside(unfit: readonly string[], isNeeded: boolean): Promise<void> {
    const lock = (tx: Queryable) => lockTasks(tx, unfit);
    try {
      await this.writer.sweep(lock, () => null, {});
    } catch (error) {
      if (isNeeded) throw error;
    }
  }

  /** Whether tasks of these types got their place just now. */
  private async placed({ taskTypes }: WantedTasks): Promise<boolean> {
    const types = taskTypes.length > 0 ? await this.order.place() : new Set<string>();
    return taskTypes.some((taskType) => types.has(taskType));
  }

  /** Where PostgreSQL refuses a row: the writer finds out which, and sets it aside. */
  private async claimOneByOne(group: readonly ClaimRequest[]): Promise<Claims> {
    const claims = new Map<ClaimRequest, ClaimOutcome>();
    for (const request of group) {
      const outcome = await this.claimSwept(request).catch((error: unknown) => ({ outcome: 'failed', error }) as const);
      claims.set(request, outcome);
    }
    return claims;
  }

  private async claimSwept(request: ClaimRequest): Promise<ClaimOutcome> {
    for (;;) {
      const { found, written } = await this.writer.sweep(
        (tx) => lockWaitingTasks(tx, this.wantedBy([request]), request.limit, this.leaseSecondsOf(request)),
        ({ task }) => ({ kind: 'claim', token: leaseToken(nextAttempt(task), this.secretFor(request)) }),
        request.worker,
      );
      if (found > 0 && written.length === 0) continue;
      return this.claimed(
        written.flatMap(({ record, after }) => {
          if (after.run.state !== 'leased') return [];
          const { identity, input, metadata, attachments, traceparent, leaseExpiresAt, waitedSeconds, place } = record;
          const { attempt, leaseNumber, headEventId, hasSteps } = after;
          return {
            ...{ identity, input, metadata, attachments, traceparent, leaseExpiresAt, waitedSeconds, place },
            ...{ attempt, leaseNumber, headEventId, hasSteps },
            token: after.run.token,
            cancellationRequested: after.cancellation !== null,
          };
        }),
      );
    }
  }

  private wantedBy([first]: readonly ClaimRequest[]): WantedTasks {
    const { taskTypes = [], tenants, steps = false } = first ?? {};
    const types = [...new Set(taskTypes)];
    return {
      taskTypes: types,
      idle: types.map((taskType) => this.#turns.idleOf(taskType)),
      tenants,
      steps,
      attemptSeconds: types.map((taskType) => this.policies.of(taskType).startToFinishSeconds ?? null),
      limits: this.policies.limitsOf(types),
    };
  }

  private slotFor(request: ClaimRequest): Slot {
    return { ...request.worker, secret: this.secretFor(request), leaseSeconds: this.leaseSecondsOf(request) };
  }

  private secretFor({ leaseSeconds }: ClaimRequest): string {
    return leaseSecret(randomUUID(), leaseSeconds);
  }

  private leaseSecondsOf({ leaseSeconds }: ClaimRequest): number {
    return leaseSeconds ?? this.config.leaseSeconds;
  }

  private claimed(tasks: readonly ClaimedTask[]): ClaimOutcome {
    this.served(tasks);
    return { outcome: 'claimed', tasks };
  }

  private served(tasks: readonly ClaimedTask[]): void {
    for (const { identity, leaseNumber, place } of tasks) {
      this.#turns.served(identity.taskType);
      if (leaseNumber === 1 && place !== null) this.order.served(identity.taskType, place);
    }
  }
}

/** One entry for each task that the callers want, going round them. */
function dealt(group: readonly ClaimRequest[]): readonly ClaimRequest[] {
  const rounds = Math.max(...group.map(({ limit }) => limit));
  return Array.from({ length: rounds }, (_, round) => group.filter(({ limit }) => limit > round)).flat();
}
