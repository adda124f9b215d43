import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { Attachment } from '#protocol/snapshots.js';
import { Database } from '../database/database.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { LiveReplicas } from '../replicas/live-replicas.js';
import { nextAttempt } from './domain/decide.js';
import type { JsonText } from '../json/json-text.js';
import { ServedOwners } from './served-owners.js';
import { type ClaimableRecord, lockClaimableTasks, type WantedTasks } from './store/lock-tasks.js';
import { readSteps, type StoredStep } from './store/steps.js';
import { readAnswers } from './store/suspensions.js';
import type { TaskIdentity } from './store/task-row.js';
import { leaseToken } from './domain/lease-token.js';
import { TaskWriter, type Written } from './task-writer.js';
import { TasksConfig } from './tasks.config.js';

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
  /** How long its leases last without a sign of life. Absent: LEASE_SECONDS. */
  readonly leaseSeconds?: number | undefined;
}

/** Hands out waiting tasks, oldest first and going round the owners, each to one caller. */
@Injectable()
export class ClaimTasks {
  readonly #served = new ServedOwners();

  constructor(
    private readonly writer: TaskWriter,
    private readonly database: Database,
    private readonly config: TasksConfig,
    private readonly metrics: MetricsSink,
    private readonly replicas: LiveReplicas,
  ) {}

  async execute(
    worker: { readonly workerId: string; readonly principalId: string },
    taskTypes: readonly string[],
    limit: number,
    { tenants, steps = false, leaseSeconds }: Claimable = {},
  ): Promise<readonly Lease[]> {
    const claimed = await this.claimed(worker, { taskTypes, tenants, steps }, limit, leaseSeconds);
    this.#served.note(claimed.map(({ record }) => record));
    // More leases than attempts: some leases followed an answer.
    const answered = claimed.filter(({ after }) => after.leaseNumber > after.attempt);
    const answers =
      answered.length > 0
        ? await readAnswers(
            this.database,
            answered.map(({ record }) => record.identity.taskId),
          )
        : new Map<string, readonly JsonText[]>();
    const finished = await this.stepsOf(claimed);
    const areStepsOn = steps && this.replicas.know('steps');
    return claimed.flatMap(({ record, after }) => {
      if (after.run.state !== 'leased') return [];
      this.metrics.observe('claim_lag_seconds', record.waitedSeconds);
      const { identity, input, metadata, attachments, traceparent, leaseExpiresAt } = record;
      return {
        identity,
        input,
        metadata,
        attachments,
        traceparent,
        leaseExpiresAt,
        token: after.run.token,
        attempt: after.attempt,
        headEventId: after.headEventId,
        cancellationRequested: after.cancellation !== null,
        answers: answers.get(identity.taskId) ?? [],
        steps: finished.get(identity.taskId) ?? (areStepsOn ? [] : undefined),
      };
    });
  }

  private async stepsOf(claimed: readonly Written[]): Promise<ReadonlyMap<string, readonly StoredStep[]>> {
    const taskIds = claimed.filter(({ after }) => after.hasSteps).map(({ record }) => record.identity.taskId);
    return taskIds.length > 0 ? readSteps(this.database, taskIds) : new Map<string, readonly StoredStep[]>();
  }

  /** Returns none only when no task waits. Faulty tasks are set aside and do not block others. */
  private async claimed(
    worker: { readonly workerId: string; readonly principalId: string },
    wanted: WantedTasks,
    limit: number,
    leaseSeconds: number | undefined,
  ): Promise<readonly Written<ClaimableRecord>[]> {
    for (;;) {
      const { found, written } = await this.writer.sweep(
        (tx) => lockClaimableTasks(tx, wanted, limit, leaseSeconds ?? this.config.leaseSeconds, this.#served.all),
        ({ task }) => ({ kind: 'claim', token: leaseToken(nextAttempt(task), randomUUID(), leaseSeconds) }),
        worker,
      );
      if (found === 0 || written.length > 0) return written;
    }
  }
}
