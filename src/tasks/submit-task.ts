import { Injectable } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import type { TaskAccepted } from '#protocol/snapshots.js';
import { type AuthContext, ownerOf, principalKey } from '../auth/auth-context.js';
import { demandScope } from '../auth/authentication.guard.js';
import { Database } from '../database/database.js';
import { ConnectionQuota } from '../database/connection-quota.js';
import { hintChange, LiveLog } from './ports/live-log.js';
import { RequestValidationError } from '../errors.js';
import { TaskExecutor } from './ports/task-executor.js';
import type { JsonText } from '../json/json-text.js';
import { storyFrom, currentStory } from '../observability/correlation.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { lockOwners } from '../uploads/owned-bytes.js';
import type { UploadedFile } from '../uploads/uploaded-file.js';
import { BeginNewTasks } from './begin-new-tasks.js';
import { CheckInput } from './check-input.js';
import { CreateQueue, MAX_BATCH_PAGES } from './create-queue.js';
import { CreationForbidden, IdempotencyConflict, TooManyOpenTasks, UnknownTaskType } from './domain/tasks.errors.js';
import { comparable, fingerprintOfTask, fingerprintsOfTask, type TaskFingerprints } from './fingerprints.js';
import { insertWithFiles } from './insert-with-files.js';
import type { Timing } from './domain/plan.js';
import { planOf } from './plan-of.js';
import { TaskPolicies } from './task-policies.js';
import { QueueOrder } from './queue-order.js';
import type { InsertOutcome } from './store/first-attempts.js';
import { findByClientRequest, type EarlierTask, type NewTaskRow } from './store/insert-task.js';
import { insertPlannedTasks } from './store/insert-planned-tasks.js';
import { insertTasks } from './store/insert-tasks.js';
import { readContent } from './store/read-content.js';
import { hasRoom } from './store/open-tasks.js';
import { TasksConfig } from './tasks.config.js';

/**
 * Within this distance of its cap, an owner's creates run one batch at a time on all replicas, so the cap is never exceeded.
 * Further away they run in parallel: the creates under way on ten replicas are too few to reach the cap unseen.
 */
const NEAR_THE_CAP = 10 * MAX_BATCH_PAGES;
/** The most connections for reading earlier tasks. Repeated requests thus leave connections for others. */
const LOOKUP_CONNECTIONS = 4;

export interface Submission {
  readonly clientRequestId: string;
  /** Release 0.1.0 may have stored the same request under this id. */
  readonly earlierId?: string;
  readonly taskType: string;
  readonly input?: JsonText;
  readonly metadata?: JsonText;
  /** When and how often it runs. */
  readonly timing?: Timing;
  /** Stored files that belong to no task yet. */
  readonly files?: readonly UploadedFile[];
  /** Bytes that the owner may have attached in all, these files included. Absent: no limit. */
  readonly maxOwnedBytes?: number;
}

interface RequestKey {
  readonly tenantId: string;
  readonly ownerId: string;
  readonly clientRequestId: string;
}

/** Accepts a task once, however often the same request arrives, for as long as the task exists. */
@Injectable()
export class SubmitTask {
  /** By owner and clientRequestId. A client that repeats a request a thousand times causes one query. */
  readonly #underWay = new Map<string, Promise<EarlierTask | undefined>>();
  readonly #maxOpenTasks: number | null;
  readonly #queue: CreateQueue;
  /** The tasks with a plan: a batch is one statement. */
  readonly #planned: CreateQueue;
  /** The creates of owners that are near their cap. */
  readonly #inTurn: CreateQueue;
  readonly #lookups: ConnectionQuota;

  constructor(
    private readonly database: Database,
    private readonly executor: TaskExecutor,
    newTasks: BeginNewTasks,
    private readonly order: QueueOrder,
    private readonly policies: TaskPolicies,
    private readonly checkInput: CheckInput,
    private readonly liveLog: LiveLog,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
    private readonly metrics: MetricsSink,
    config: TasksConfig,
  ) {
    const max = config.openTasksPerPrincipal || null;
    this.#maxOpenTasks = max;
    const farFromCap = max && Math.max(max - NEAR_THE_CAP, 0);
    this.#queue = new CreateQueue((batch) =>
      newTasks.store(batch, (tasks, holder) => insertTasks(database, tasks, farFromCap, holder)),
    );
    this.#planned = new CreateQueue((tasks) => insertPlannedTasks(database, tasks, farFromCap));
    this.#inTurn = new CreateQueue((batch) =>
      newTasks.store(batch, (tasks, holder) =>
        database.transaction(async (tx) => {
          await lockOwners(tx, tasks);
          const isPlanned = tasks.some(({ plan }) => plan !== undefined);
          return isPlanned ? insertPlannedTasks(tx, tasks, max) : insertTasks(tx, tasks, max, holder);
        }),
      ),
    );
    this.#lookups = new ConnectionQuota(database, LOOKUP_CONNECTIONS);
  }

  /**
   * @throws CreationForbidden, UnknownTaskType, UploadForbidden
   * @throws AccessDenied when the create names a priority, and the caller has no scope for that
   * @throws RequestValidationError when the task would be new, and its input is not as the schema of its type says
   * @throws TooManyOpenTasks when the task would be new, and the owner is at its cap
   * @throws IdempotencyConflict when the owner used the clientRequestId with other content
   */
  execute(auth: AuthContext, submission: Submission): Promise<TaskAccepted> {
    const { clientRequestId, taskType } = submission;
    if (submission.timing?.priority !== undefined) demandScope(auth, 'tasks:prioritise');
    return this.observer.command('create_task', { principalId: auth.subject, clientRequestId }, async (note) => {
      if (!(await this.ownership.mayCreate(auth, { taskType }))) throw new CreationForbidden();
      const submitted = await this.submit(auth, submission);
      note({ taskId: submitted.taskId, outcome: submitted.deduplicated ? 'deduplicated' : 'created' });
      return submitted;
    });
  }

  /** A request with the key of one under way waits for the result of that one. */
  private async submit(auth: AuthContext, submission: Submission): Promise<TaskAccepted> {
    const { clientRequestId, earlierId } = submission;
    const key = { ...ownerOf(auth), clientRequestId };
    const fingerprints = fingerprintsOfTask(submission);
    if (earlierId !== undefined) {
      const earlier = await findByClientRequest(this.#lookups, { ...key, clientRequestId: earlierId });
      if (earlier) return this.repeated(earlier, earlierId, fingerprints);
    }
    const name = principalKey(auth, clientRequestId);
    const underWay = this.#underWay.get(name);
    const earlier = underWay && (await underWay);
    if (earlier) return this.repeated(earlier, clientRequestId, fingerprints);
    const submitting = this.submitFirst(key, submission, fingerprints);
    const outcome = submitting.then(
      ({ taskId, status }) => ({ taskId, status, contentFingerprint: fingerprints.content }),
      () => undefined,
    );
    this.#underWay.set(name, outcome);
    try {
      return await submitting;
    } finally {
      if (this.#underWay.get(name) === outcome) this.#underWay.delete(name);
    }
  }

  private async submitFirst(
    key: RequestKey,
    submission: Submission,
    fingerprints: TaskFingerprints,
  ): Promise<TaskAccepted> {
    const { clientRequestId, taskType } = submission;
    const maxOpenTasks = this.#maxOpenTasks;
    const known = this.executor.accepts(taskType);
    await this.policies.load();
    // A repeat of an earlier request is never refused for them.
    const errors = await this.checkInput.errorsIn(submission);
    let inTurn = maxOpenTasks !== null && maxOpenTasks <= NEAR_THE_CAP;
    // One or two rounds. More only when retention removes the earlier task, or tasks end, between two statements.
    for (;;) {
      if (known && errors.length === 0) {
        await this.order.load();
        const plan = await planOf(submission.timing ?? {}, this.policies.of(taskType), submission);
        const row = { ...rowOf(key, submission, fingerprints, this.order.earliest({ ...key, taskType })), plan };
        const inserted = await this.insert(row, submission, inTurn);
        if (inserted.outcome === 'inserted') {
          if (inserted.place !== null) this.order.placed(row, inserted.place);
          if (inserted.begun === null) this.executor.submitted({ taskId: inserted.taskId, taskType });
          return this.accepted({ ...row, taskId: inserted.taskId });
        }
      }
      const earlier = await findByClientRequest(this.#lookups, key);
      if (earlier) return this.repeated(earlier, clientRequestId, fingerprints);
      if (!known) throw new UnknownTaskType(this.executor.taskTypes);
      if (errors.length > 0) throw new RequestValidationError(errors);
      if (maxOpenTasks !== null && !(await hasRoom(this.#lookups, key, maxOpenTasks))) {
        throw new TooManyOpenTasks(maxOpenTasks);
      }
      inTurn = true;
    }
  }

  private insert(row: NewTaskRow, submission: Submission, inTurn: boolean): Promise<InsertOutcome> {
    const { files = [], maxOwnedBytes } = submission;
    const outOfTurn = row.plan ? this.#planned : this.#queue;
    if (files.length === 0) return (inTurn ? this.#inTurn : outOfTurn).push(row);
    const brought = { files, maxOwnedBytes };
    return this.database.transaction((tx) => insertWithFiles(tx, row, this.#maxOpenTasks, brought));
  }

  private accepted(row: NewTaskRow): TaskAccepted {
    const { taskId, clientRequestId } = row;
    this.metrics.increment('task_starts_total');
    hintChange(this.liveLog, row);
    return { taskId, status: 'ACCEPTED', clientRequestId, deduplicated: false };
  }

  private async repeated(
    earlier: EarlierTask,
    clientRequestId: string,
    { content, earlierContent }: TaskFingerprints,
  ): Promise<TaskAccepted> {
    const { contentFingerprint: stored, taskId } = earlier;
    const isSame = stored === null ? (await this.contentFingerprint(taskId)) === earlierContent : stored === content;
    if (!isSame) throw new IdempotencyConflict('clientRequestId');
    this.metrics.increment('duplicates_total');
    return { taskId: earlier.taskId, status: earlier.status, clientRequestId, deduplicated: true };
  }

  /** Of a row that release 0.1.0 wrote, or SQL. Undefined where no request of today equals it, or the task is gone. */
  private async contentFingerprint(taskId: string): Promise<string | undefined> {
    const stored = await readContent(this.#lookups, taskId);
    if (!stored) return undefined;
    const { taskType, inputJson, attachments: files } = stored;
    if (inputJson === null) return fingerprintOfTask({ taskType, files });
    const input = await comparable(inputJson);
    return input && fingerprintOfTask({ taskType, input, files });
  }
}

function rowOf(
  key: RequestKey,
  { taskType, input, metadata }: Submission,
  { whole, content }: TaskFingerprints,
  earliestPlace: number,
): NewTaskRow {
  const { correlationId, traceparent } = currentStory() ?? storyFrom(undefined);
  return {
    ...key,
    taskId: uuidv7(),
    fingerprint: whole,
    contentFingerprint: content,
    taskType,
    inputJson: input?.json ?? null,
    metadataJson: metadata?.json ?? null,
    correlationId,
    traceparent,
    earliestPlace,
  };
}
