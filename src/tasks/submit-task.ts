import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { TaskExecutor } from '../execution/task-executor.js';
import { canonicalJson } from '../http/canonical-json.js';
import type { JsonObject } from '../http/strict-json.js';
import { storyFrom, currentStory } from '../observability/correlation.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Observer } from '../observability/observer.js';
import { CreationForbidden } from '../ownership/ownership.errors.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { insertWithFiles } from './insert-with-files.js';
import type { UploadedFile } from '../uploads/uploaded-file.js';
import type { TaskStatus } from './domain/task.js';
import { IdempotencyConflict, UnknownTaskType } from './domain/tasks.errors.js';
import { findByClientRequest, insertTask, type EarlierTask } from './store/insert-task.js';

export interface Submission {
  readonly clientRequestId: string;
  readonly taskType: string;
  readonly input?: JsonObject;
  readonly metadata?: JsonObject;
  /** Stored, and nobody's yet. */
  readonly files?: readonly UploadedFile[];
  /** Bytes that the owner may have attached in all, these files included. Absent: no limit. */
  readonly maxOwnedBytes?: number;
}

export interface Submitted {
  readonly taskId: string;
  readonly status: TaskStatus;
  readonly clientRequestId: string;
  /** Whether the task was there before; then `status` is what it is now. */
  readonly deduplicated: boolean;
}

interface RequestKey {
  readonly tenantId: string;
  readonly ownerId: string;
  readonly clientRequestId: string;
}

/** Accepts a task once, however often the same request arrives, for as long as the task exists. */
@Injectable()
export class SubmitTask {
  /** By owner and clientRequestId. A phone that retries, a thousand times over, asks PostgreSQL once. */
  readonly #underWay = new Map<string, Promise<EarlierTask | undefined>>();

  constructor(
    private readonly database: Database,
    private readonly executor: TaskExecutor,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
    private readonly metrics: MetricsSink,
  ) {}

  /**
   * @throws CreationForbidden, UnknownTaskType, UploadForbidden
   * @throws IdempotencyConflict when the owner used the clientRequestId with other content
   */
  execute(auth: AuthContext, submission: Submission): Promise<Submitted> {
    const { clientRequestId, taskType } = submission;
    return this.observer.command('create_task', { principalId: auth.subject, clientRequestId }, async (note) => {
      if (!(await this.ownership.mayCreate(auth, { taskType }))) throw new CreationForbidden();
      const submitted = await this.submit(auth, submission);
      note({ taskId: submitted.taskId, outcome: submitted.deduplicated ? 'deduplicated' : 'created' });
      return submitted;
    });
  }

  /** Whoever comes with the key of a request that is under way waits for what becomes of that. */
  private async submit(auth: AuthContext, submission: Submission): Promise<Submitted> {
    const { clientRequestId } = submission;
    const key = { tenantId: auth.tenantId ?? '', ownerId: auth.subject, clientRequestId };
    const fingerprint = fingerprintOf(submission);
    const name = JSON.stringify([key.tenantId, key.ownerId, clientRequestId]);
    const underWay = this.#underWay.get(name);
    const earlier = underWay && (await underWay);
    if (earlier) return this.repeated(earlier, clientRequestId, fingerprint);
    const submitting = this.submitFirst(key, submission, fingerprint);
    const outcome = submitting.then(
      ({ taskId, status }) => ({ taskId, status, fingerprint }),
      () => undefined,
    );
    this.#underWay.set(name, outcome);
    try {
      return await submitting;
    } finally {
      if (this.#underWay.get(name) === outcome) this.#underWay.delete(name);
    }
  }

  private async submitFirst(key: RequestKey, submission: Submission, fingerprint: string): Promise<Submitted> {
    const { clientRequestId, taskType } = submission;
    const known = this.executor.accepts(taskType);
    // Twice at most: only if retention removes the earlier task between the two statements.
    for (;;) {
      if (known) {
        const taskId = await this.insert(key, submission, fingerprint);
        if (taskId) return { taskId, status: 'ACCEPTED', clientRequestId, deduplicated: false };
      }
      const earlier = await findByClientRequest(this.database, key);
      if (earlier) return this.repeated(earlier, clientRequestId, fingerprint);
      if (!known) throw new UnknownTaskType(this.executor.taskTypes);
    }
  }

  private async insert(key: RequestKey, submission: Submission, fingerprint: string): Promise<string | undefined> {
    const { taskType, input, metadata, files = [] } = submission;
    const taskId = uuidv7();
    const { correlationId, traceparent } = currentStory() ?? storyFrom(undefined);
    const row = {
      ...key,
      taskId,
      fingerprint,
      taskType,
      inputJson: input ? JSON.stringify(input) : null,
      metadataJson: metadata ? JSON.stringify(metadata) : null,
      correlationId,
      traceparent,
    };
    const isNew = await (files.length > 0
      ? this.database.transaction((tx) => insertWithFiles(tx, row, files, submission.maxOwnedBytes))
      : insertTask(this.database, row));
    if (!isNew) return undefined;
    this.metrics.increment('task_starts_total');
    this.executor.submitted({ taskId, taskType });
    return taskId;
  }

  private repeated(earlier: EarlierTask, clientRequestId: string, fingerprint: string): Submitted {
    if (earlier.fingerprint !== fingerprint) throw new IdempotencyConflict('clientRequestId');
    this.metrics.increment('duplicates_total');
    return { taskId: earlier.taskId, status: earlier.status, clientRequestId, deduplicated: true };
  }
}

/** Equal requests have equal fingerprints, whatever the order of their members. Lower-case hex. */
function fingerprintOf({ taskType, input, metadata, files = [] }: Submission): string {
  const attachments = files.map(({ filename, contentType, sha256 }) => ({ filename, contentType, sha256 }));
  const canonical = canonicalJson({ taskType, ...(input && { input }), ...(metadata && { metadata }), attachments });
  return createHash('sha256').update(canonical).digest('hex');
}
