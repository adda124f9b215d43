import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { Attachment } from '#protocol/snapshots.js';
import { isFaultOfData } from '../database/database.errors.js';
import { Database } from '../database/database.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { linkToStory } from '../observability/correlation.js';
import { LiveReplicas } from '../replicas/live-replicas.js';
import { BatchQueue } from './batch-queue.js';
import { nextAttempt } from './domain/decide.js';
import type { JsonText } from '../json/json-text.js';
import { LiveLog } from './ports/live-log.js';
import { QueueOrder } from './queue-order.js';
import { claimBatch, type ClaimedTask, lockWaitingTasks, type Slot, type WantedTasks } from './store/claim-batch.js';
import { lockTasks } from './store/lock-tasks.js';
import { readSteps, type StoredStep } from './store/steps.js';
import { readAnswers } from './store/suspensions.js';
import type { TaskIdentity } from './store/task-row.js';
import { newLeaseToken } from './lease-token.js';
import { TaskWriter } from './task-writer.js';
import { TasksConfig } from './tasks.config.js';
import { TypeTurns } from './type-turns.js';

/** The right to run one attempt, as long as its executor gives signs of life. */
export interface Lease {
  readonly identity: TaskIdentity;
  readonly token: string;
  readonly attempt: number;
  readonly headEventId: number;
  readonly leaseExpiresAt: string;
  readonly input: JsonText | null;
  readonly metadata: JsonText | null;
  readonly attachments: readonly Attachment[];
  readonly traceparent: string | null;
  readonly cancellationRequested: boolean;
  /** All answers to the task's questions, oldest first, each an `Answer`. The attempt continues with the last one. */
  readonly answers: readonly JsonText[];
  /** The finished steps, oldest first; undefined where steps are not stored. */
  readonly steps: readonly StoredStep[] | undefined;
}

/** What a caller may have of the tasks that wait. */
export interface Claimable {
  /** Absent: tasks of all tenants. */
  readonly tenants?: readonly string[] | undefined;
  /** Whether the caller knows steps. Else tasks with a finished step are not for it. */
  readonly steps?: boolean;
}

interface ClaimRequest extends Required<Pick<Claimable, 'steps'>> {
  readonly id: string;
  readonly worker: { readonly workerId: string; readonly principalId: string };
  readonly taskTypes: readonly string[];
  readonly limit: number;
  readonly tenants: readonly string[] | undefined;
}

interface ClaimOutcome {
  readonly outcome: 'claimed';
  readonly tasks: readonly ClaimedTask[];
}

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
    { tenants, steps = false }: Claimable = {},
  ): Promise<readonly Lease[]> {
    await this.order.load();
    const request = { id: randomUUID(), worker, taskTypes, limit, tenants, steps };
    const { tasks } = await this.#queue.push(request);
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
    return tasks.map(({ leaseNumber, hasSteps, waitedSeconds, place, ...lease }) => {
      this.metrics.observe('claim_lag_seconds', waitedSeconds);
      linkToStory(lease.traceparent);
      const { taskId } = lease.identity;
      return {
        ...lease,
        answers: answers.get(taskId) ?? [],
        steps: finished.get(taskId) ?? (areStepsOn ? [] : undefined),
      };
    });
  }

  private async stepsOf(claimed: readonly ClaimedTask[]): Promise<ReadonlyMap<string, readonly StoredStep[]>> {
    const taskIds = claimed.filter(({ hasSteps }) => hasSteps).map(({ identity }) => identity.taskId);
    return taskIds.length > 0 ? readSteps(this.database, taskIds) : new Map<string, readonly StoredStep[]>();
  }

  /** Callers that may have the same tasks share them, as evenly as their limits allow. */
  private async claim(requests: readonly ClaimRequest[]): Promise<readonly ClaimOutcome[]> {
    const tasks = new Map<ClaimRequest, ClaimedTask[]>(requests.map((request) => [request, []]));
    const groups = Map.groupBy(requests, ({ taskTypes, tenants, steps }) =>
      JSON.stringify([[...taskTypes].sort(), tenants ?? null, steps]),
    );
    await Promise.all(
      [...groups.values()].map(async (group) => {
        for (const [request, task] of await this.claimFor(group)) tasks.get(request)?.push(task);
      }),
    );
    return requests.map((request) => ({ outcome: 'claimed', tasks: tasks.get(request) ?? [] }));
  }

  /** Returns none only when no task waits, also none without a place. Faulty tasks are set aside and do not block others. */
  private async claimFor(group: readonly ClaimRequest[]): Promise<readonly (readonly [ClaimRequest, ClaimedTask])[]> {
    const wanted = this.wantedBy(group);
    const callers = dealt(group);
    for (;;) {
      try {
        const { tasks, events, unfit } = await claimBatch(
          this.database,
          wanted,
          callers.map((caller) => this.slotFor(caller)),
        );
        if (events.length > 0) this.liveLog.publish(events);
        if (unfit.length > 0)
          await this.writer.sweep(
            (tx) => lockTasks(tx, unfit),
            () => null,
            {},
          );
        if (tasks.size === 0 && (unfit.length > 0 || (await this.placed(wanted)))) continue;
        return this.noted([...tasks].map(([slot, task]) => [callers[slot] as ClaimRequest, task] as const));
      } catch (error) {
        if (!isFaultOfData(error)) throw error;
        return this.noted(await this.claimOneByOne(group));
      }
    }
  }

  /** Whether tasks of these types got their place just now. */
  private async placed({ taskTypes }: WantedTasks): Promise<boolean> {
    const types = taskTypes.length > 0 ? await this.order.place() : new Set<string>();
    return taskTypes.some((taskType) => types.has(taskType));
  }

  /** Where PostgreSQL refuses a row: the writer finds out which, and sets it aside. */
  private async claimOneByOne(
    group: readonly ClaimRequest[],
  ): Promise<readonly (readonly [ClaimRequest, ClaimedTask])[]> {
    const claimed: (readonly [ClaimRequest, ClaimedTask])[] = [];
    for (const request of group) {
      let swept;
      do {
        swept = await this.writer.sweep(
          (tx) => lockWaitingTasks(tx, this.wantedBy([request]), request.limit, this.config.leaseSeconds),
          ({ task }) => ({ kind: 'claim', token: newLeaseToken(nextAttempt(task)) }),
          request.worker,
        );
      } while (swept.found > 0 && swept.written.length === 0);
      for (const { record, after } of swept.written) {
        if (after.run.state !== 'leased') continue;
        const { identity, input, metadata, attachments, traceparent, leaseExpiresAt, waitedSeconds, place } = record;
        const facts = { identity, input, metadata, attachments, traceparent, leaseExpiresAt, waitedSeconds, place };
        const { attempt, leaseNumber, headEventId, hasSteps } = after;
        const lease = { token: after.run.token, cancellationRequested: after.cancellation !== null };
        claimed.push([request, { ...facts, ...lease, attempt, leaseNumber, headEventId, hasSteps }]);
      }
    }
    return claimed;
  }

  private wantedBy([first]: readonly ClaimRequest[]): WantedTasks {
    const { taskTypes = [], tenants, steps = false } = first ?? {};
    const types = [...new Set(taskTypes)];
    return { taskTypes: types, idle: types.map((taskType) => this.#turns.idleOf(taskType)), tenants, steps };
  }

  private slotFor({ worker }: ClaimRequest): Slot {
    return { ...worker, secret: randomUUID(), leaseSeconds: this.config.leaseSeconds };
  }

  private noted<Claims extends readonly (readonly [ClaimRequest, ClaimedTask])[]>(claims: Claims): Claims {
    for (const [, { identity, leaseNumber, place }] of claims) {
      this.#turns.served(identity.taskType);
      if (leaseNumber === 1 && place !== null) this.order.served(identity.taskType, place);
    }
    return claims;
  }
}

/** One entry for each task that the callers want, going round them. */
function dealt(group: readonly ClaimRequest[]): readonly ClaimRequest[] {
  const rounds = Math.max(...group.map(({ limit }) => limit));
  return Array.from({ length: rounds }, (_, round) => group.filter(({ limit }) => limit > round)).flat();
}
