import { Injectable } from '@nestjs/common';
import type { Attachment } from '#protocol/snapshots.js';
import { Database } from '../database/database.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { nextAttempt } from './domain/decide.js';
import type { JsonText } from '../json/json-text.js';
import { ServedOwners } from './served-owners.js';
import { type ClaimableRecord, lockClaimableTasks } from './store/lock-tasks.js';
import { readAnswers } from './store/suspensions.js';
import type { TaskIdentity } from './store/task-row.js';
import { newLeaseToken } from './lease-token.js';
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
  ) {}

  async execute(
    worker: { readonly workerId: string; readonly principalId: string },
    taskTypes: readonly string[],
    limit: number,
    /** Absent: tasks of all tenants. */
    tenants?: readonly string[],
  ): Promise<readonly Lease[]> {
    const claimed = await this.claimed(worker, taskTypes, limit, tenants);
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
      };
    });
  }

  /** Returns none only when no task waits. Faulty tasks are set aside and do not block others. */
  private async claimed(
    worker: { readonly workerId: string; readonly principalId: string },
    taskTypes: readonly string[],
    limit: number,
    tenants: readonly string[] | undefined,
  ): Promise<readonly Written<ClaimableRecord>[]> {
    for (;;) {
      const { found, written } = await this.writer.sweep(
        (tx) => lockClaimableTasks(tx, { taskTypes, tenants }, limit, this.config.leaseSeconds, this.#served.all),
        ({ task }) => ({ kind: 'claim', token: newLeaseToken(nextAttempt(task)) }),
        worker,
      );
      if (found === 0 || written.length > 0) return written;
    }
  }
}
