import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { JsonText } from '../json/json-text.js';
import { type BegunTask, ClaimTasks } from './claim-tasks.js';
import type { Lease } from './domain/lease.js';
import { nextAttempt } from './domain/decide.js';
import { leaseSecret, leaseToken } from './domain/lease-token.js';
import { NEW_TASK } from './domain/task.js';
import { TaskExecutor } from './ports/task-executor.js';
import { startedEvent } from './store/claim-batch.js';
import type { NewTaskRow } from './store/insert-task.js';
import type { Holder, InsertOutcome } from './store/first-attempts.js';
import { TaskPolicies } from './task-policies.js';
import { TasksConfig } from './tasks.config.js';

type Insert = (tasks: readonly NewTaskRow[], holder?: Holder) => Promise<readonly InsertOutcome[]>;

/**
 * Stores new tasks as claimed where this process has a place for each of them, and begins them after the commit. So they take one
 * transaction instead of two. Tasks that cannot begin at once wait for a claim, and so do those of types with a rate or a time for an
 * attempt: the claim judges them.
 */
@Injectable()
export class BeginNewTasks {
  constructor(
    private readonly executor: TaskExecutor,
    private readonly claimTasks: ClaimTasks,
    private readonly policies: TaskPolicies,
    private readonly config: TasksConfig,
  ) {}

  /** `insert` commits. What it inserts without a place waits. */
  async store(tasks: readonly NewTaskRow[], insert: Insert): Promise<readonly InsertOutcome[]> {
    const mayBegin = ({ taskType, plan }: NewTaskRow) => plan === undefined && this.policies.mayBeginAtCreate(taskType);
    const room = this.executor.roomFor(tasks.filter(mayBegin).map(({ taskType }) => taskType));
    if (!room) return insert(tasks);
    let leases: readonly Lease[] = [];
    try {
      const isOffered = (task: NewTaskRow) => mayBegin(task) && room.takes(task.taskType);
      const offered = tasks.map((task) => (isOffered(task) ? { ...task, leaseToken: firstToken() } : task));
      const types = offered.flatMap(({ taskType, leaseToken: token }) => (token === undefined ? [] : [taskType]));
      const limits = this.policies.limitsOf([...new Set(types)]);
      const outcomes = await insert(offered, { ...room.worker, leaseSeconds: this.config.leaseSeconds, limits });
      leases = this.claimTasks.begun(offered.flatMap((task, n) => begunTask(task, outcomes[n])));
      return outcomes;
    } finally {
      room.fill(leases);
    }
  }
}

/** The task as `decide` says of its claim; none where it did not begin. */
function begunTask(row: NewTaskRow, outcome: InsertOutcome | undefined): readonly BegunTask[] {
  const { leaseToken: token, inputJson, metadataJson, traceparent } = row;
  if (outcome?.outcome !== 'inserted' || outcome.begun === null || token === undefined) return [];
  const { taskId, place, begun } = outcome;
  const { tenantId, ownerId, taskType, clientRequestId, correlationId } = row;
  const claimed = {
    identity: { taskId, tenantId, ownerId, taskType, clientRequestId, correlationId },
    ...{ token, attempt: 1, leaseNumber: 1, headEventId: 1, leaseExpiresAt: begun.leaseExpiresAt, place, traceparent },
    input: inputJson === null ? null : new JsonText(inputJson),
    metadata: metadataJson === null ? null : new JsonText(metadataJson),
    ...{ attachments: [], hasSteps: false, cancellationRequested: false, waitedSeconds: 0 },
  };
  return [{ claimed, event: startedEvent(taskId, begun.startedAt) }];
}

function firstToken(): string {
  return leaseToken(nextAttempt(NEW_TASK), leaseSecret(randomUUID()));
}
