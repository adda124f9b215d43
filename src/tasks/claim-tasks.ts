import { Injectable } from '@nestjs/common';
import { MetricsSink } from '../observability/metrics-sink.js';
import type { JsonObject } from './domain/task-event.js';
import { lockClaimableTasks } from './store/lock-tasks.js';
import type { TaskIdentity } from './store/task-row.js';
import { newLeaseToken, TaskWriter } from './task-writer.js';

/** The right to run one attempt, for as long as it gives signs of life. */
export interface Lease {
  readonly identity: TaskIdentity;
  readonly token: string;
  readonly attempt: number;
  readonly headEventId: number;
  readonly input: JsonObject | null;
  readonly metadata: JsonObject | null;
}

/** Hands out waiting tasks, oldest first, each to one caller. */
@Injectable()
export class ClaimTasks {
  constructor(
    private readonly writer: TaskWriter,
    private readonly metrics: MetricsSink,
  ) {}

  async execute(
    worker: { readonly workerId: string; readonly principalId: string },
    taskTypes: readonly string[],
    limit: number,
  ): Promise<readonly Lease[]> {
    const written = await this.writer.write(
      (tx) => lockClaimableTasks(tx, taskTypes, limit),
      () => ({ kind: 'claim', token: newLeaseToken() }),
      worker,
    );
    return written.flatMap(({ record, after }) => {
      if (after.run.state !== 'leased') return [];
      this.metrics.observe('claim_lag_seconds', record.waitedSeconds);
      return {
        identity: record.identity,
        token: after.run.token,
        attempt: after.attempt,
        headEventId: after.headEventId,
        input: record.input,
        metadata: record.metadata,
      };
    });
  }
}
