import { Injectable } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import type { TaskAccepted } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import type { Transaction } from '../database/database.js';
import type { JsonText } from '../json/json-text.js';
import { currentStory, storyFrom } from '../observability/correlation.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { lockOwners } from '../uploads/owned-bytes.js';
import { auditControl } from './audit-control.js';
import { CheckInput } from './check-input.js';
import { demandControl } from './demand-control.js';
import { judgeRerun } from './domain/judge-rerun.js';
import {
  CreationForbidden,
  IdempotencyConflict,
  TaskNotFound,
  TooManyOpenTasks,
  UnknownTaskType,
} from './domain/tasks.errors.js';
import { fingerprintOfRerun } from './fingerprints.js';
import { hintChange, LiveLog } from './ports/live-log.js';
import { TaskExecutor } from './ports/task-executor.js';
import { planOf, textOf } from './plan-of.js';
import { QueueOrder } from './queue-order.js';
import { shareAttachments } from './store/attachments.js';
import { insertOne } from './store/insert-planned-tasks.js';
import { findByClientRequest, type NewTaskRow } from './store/insert-task.js';
import { lockTask } from './store/lock-tasks.js';
import { hasRoom } from './store/open-tasks.js';
import { keepSteps, linkRerun, lockRerunSource } from './store/reruns.js';
import type { TaskIdentity } from './domain/task-identity.js';
import type { TaskRecord } from './store/task-row.js';
import { TaskPolicies } from './task-policies.js';
import { TaskWriter } from './task-writer.js';
import { TasksConfig } from './tasks.config.js';

export interface Rerun {
  readonly clientRequestId: string;
  /** Absent: that of the task. */
  readonly input?: JsonText;
  readonly keepSteps?: boolean;
}

interface NewRecord extends TaskRecord {
  readonly keptSteps: readonly string[];
}

/**
 * Runs a task that is over again: a new task of the same owner, with the same files. The files, the kept steps and the link are
 * stored in the transaction of the new task.
 */
@Injectable()
export class RetryTask {
  constructor(
    private readonly database: Database,
    private readonly writer: TaskWriter,
    private readonly executor: TaskExecutor,
    private readonly order: QueueOrder,
    private readonly policies: TaskPolicies,
    private readonly checkInput: CheckInput,
    private readonly liveLog: LiveLog,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
    private readonly metrics: MetricsSink,
    private readonly config: TasksConfig,
  ) {}

  /**
   * @throws TaskNotFound when there is no such task that the caller may control
   * @throws CreationForbidden, RequestValidationError, IdempotencyConflict, TaskAside, TaskNotTerminal, UnknownTaskType, TooManyOpenTasks
   */
  execute(auth: AuthContext, taskId: string, rerun: Rerun): Promise<TaskAccepted> {
    return this.observer.command('retry_task', { principalId: auth.subject, taskId }, async (note) => {
      const source = await demandControl(this.database, this.ownership, auth, taskId);
      const { taskType } = source;
      if (!(await this.ownership.mayCreate(auth, { taskType }))) throw new CreationForbidden();
      const accepted = await this.submit(source, rerun, auth);
      note({ outcome: accepted.deduplicated ? 'deduplicated' : 'created' });
      return accepted;
    });
  }

  private async submit(source: TaskIdentity, rerun: Rerun, auth: AuthContext): Promise<TaskAccepted> {
    const { tenantId, ownerId, taskType } = source;
    const { clientRequestId } = rerun;
    const key = { tenantId, ownerId, clientRequestId };
    const fingerprint = fingerprintOfRerun({ ...rerun, rerunOf: source.taskId });
    const maxOpenTasks = this.config.openTasksPerPrincipal || null;
    // One or two rounds. More only when the earlier task is removed, or tasks end, between two statements.
    for (;;) {
      const earlier = await findByClientRequest(this.database, key);
      if (earlier && earlier.contentFingerprint !== fingerprint) throw new IdempotencyConflict('clientRequestId');
      if (earlier) {
        this.metrics.increment('duplicates_total');
        return { taskId: earlier.taskId, status: earlier.status, clientRequestId, deduplicated: true };
      }
      if (!this.executor.accepts(taskType)) throw new UnknownTaskType(this.executor.taskTypes);
      await Promise.all([this.order.load(), this.policies.load()]);
      if (rerun.input) await this.checkInput.execute({ taskType, input: rerun.input });
      const { correlationId, traceparent } = currentStory() ?? storyFrom(undefined);
      const row = {
        ...{ ...key, taskId: uuidv7(), taskType, fingerprint, contentFingerprint: fingerprint },
        ...{ correlationId, traceparent, earliestPlace: this.order.earliest({ ...key, taskType }) },
      };
      const [written] = await this.writer.writeNew(
        (tx) => this.insert(tx, row, source, rerun, maxOpenTasks),
        ({ keptSteps }) => (keptSteps.length > 0 ? { kind: 'keep_steps', keys: keptSteps } : null),
        { principalId: auth.subject, correlationId, fromOutside: true },
        async (tx, [made]) => {
          if (made) await auditControl(tx, auth, 'retry_task', source);
        },
      );
      if (written) {
        const { taskId } = written.record.identity;
        this.metrics.increment('task_starts_total');
        this.metrics.increment('reruns_total');
        this.executor.submitted({ taskId, taskType });
        hintChange(this.liveLog, source);
        return { taskId, status: written.after.status, clientRequestId, deduplicated: false };
      }
      const isFree = (await findByClientRequest(this.database, key)) === undefined;
      if (isFree && maxOpenTasks !== null && !(await hasRoom(this.database, key, maxOpenTasks)))
        throw new TooManyOpenTasks(maxOpenTasks);
    }
  }

  /** The lock of the owner comes first: behind the task's unique key it could cause a deadlock. Empty: it was passed over. */
  private async insert(
    tx: Transaction,
    row: Omit<NewTaskRow, 'inputJson' | 'metadataJson'>,
    { taskId: sourceId }: TaskIdentity,
    { input, keepSteps: areKept = false }: Rerun,
    maxOpenTasks: number | null,
  ): Promise<readonly NewRecord[]> {
    await lockOwners(tx, [row]);
    const source = await lockRerunSource(tx, sourceId);
    if (!source) throw new TaskNotFound();
    judgeRerun(source);
    const { metadataJson } = source;
    const inputJson = input?.json ?? source.inputJson;
    const content = { ...textOf('input', inputJson), ...textOf('metadata', metadataJson) };
    const plan = await planOf({}, this.policies.of(row.taskType), content);
    const inserted = await insertOne(tx, { ...row, inputJson, metadataJson, plan }, maxOpenTasks);
    if (inserted.outcome === 'passed_over') return [];
    const { taskId } = inserted;
    await shareAttachments(tx, taskId, sourceId, { ofExecutor: areKept });
    await linkRerun(tx, taskId, sourceId);
    const [record] = await lockTask(tx, taskId);
    if (!record) throw new Error('a task that was inserted is not there');
    return [{ ...record, keptSteps: areKept ? await keepSteps(tx, taskId, sourceId) : [] }];
  }
}
