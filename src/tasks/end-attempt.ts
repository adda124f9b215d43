import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import type { Queryable } from '../database/queryable.js';
import { RequestValidationError, TaskBridgeError, under } from '../errors.js';
import { type CanonicalPart, canonicalJson } from '../json/canonical-json.js';
import { JsonText } from '../json/json-text.js';
import { treeOf } from '../json/json-tree.js';
import { linkToStory } from '../observability/correlation.js';
import { Observer } from '../observability/observer.js';
import { demandSchemas } from './action-schemas.js';
import { BatchQueue, type Locked } from './batch-queue.js';
import type { Command } from './domain/decide.js';
import { isOver } from './domain/task.js';
import { LeaseLost } from './domain/tasks.errors.js';
import { TaskPolicies } from './task-policies.js';
import { findTasks, lockTask, lockTasks } from './store/lock-tasks.js';
import { findLeaseEndings, insertLeaseEndings, type LeaseEnding } from './store/receipts.js';
import { readTaskHead } from './store/read-task-view.js';
import type { TaskRecord } from './store/task-row.js';
import { TaskWriter, type Written } from './task-writer.js';

/** The ways in which the holder of a lease gives it back. */
export type Ending = Extract<Command, { kind: 'complete' | 'fail' | 'suspend' | 'confirm_cancellation' | 'release' }>;

export interface Ended {
  /** The event that the call stored. */
  readonly eventId: string;
  readonly willRetry: boolean;
}

interface EndRequest {
  readonly taskId: string;
  readonly ending: Ending;
  readonly principalId: string | undefined;
  /** Of the call, where its answer is stored. */
  readonly fingerprint: string | undefined;
}

interface EndingRecord extends TaskRecord {
  readonly request: EndRequest;
  /** What was stored with the end of this lease before. */
  readonly earlier: LeaseEnding<Ended> | undefined;
}

type EndOutcome =
  | { readonly outcome: 'ended'; readonly written: Written<EndingRecord> }
  | { readonly outcome: 'refused'; readonly error: TaskBridgeError };

/** The size of what is waiting and of a batch is counted in pages: the end of a small task is one. */
const PAGE_CHARACTERS = 4_096;
/** About as many small ends as PostgreSQL stores in some seconds, or 80 MB of results. */
const MAX_WAITING_PAGES = 20_000;
/** A larger batch is no faster, and makes all its callers wait longer. */
const MAX_BATCH_PAGES = 300;

/**
 * Stores the event that ends an attempt, and the end of its lease, in one transaction. Ends that come together share it, and the
 * domain judges each by itself.
 */
@Injectable()
export class EndAttempt {
  readonly #queue: BatchQueue<EndRequest, EndOutcome>;

  constructor(
    private readonly writer: TaskWriter,
    private readonly database: Database,
    private readonly policies: TaskPolicies,
    private readonly observer: Observer,
  ) {
    this.#queue = new BatchQueue((requests) => this.store(requests), {
      keyOf: ({ taskId }) => taskId,
      sizeOf: ({ ending }) => 1 + Math.floor(lengthOf(ending) / PAGE_CHARACTERS),
      maxWaiting: MAX_WAITING_PAGES,
      maxBatch: MAX_BATCH_PAGES,
    });
  }

  /**
   * `remembered`: a repeated call gets the first answer again, for callers that lost it.
   * @throws LeaseLost when the lease was over before
   * @throws TooMuchWaiting, DatabaseUnavailable when it may be tried again
   */
  execute(
    taskId: string,
    ending: Ending,
    { principalId, remembered = false }: { readonly principalId?: string; readonly remembered?: boolean },
  ): Promise<Ended> {
    const about = { principalId: principalId ?? 'worker', taskId };
    return this.observer.command(`${ending.kind}_attempt` as const, about, async (note) => {
      if (ending.kind === 'suspend') await demandSchemas(ending.question);
      await this.refuseInvalid(taskId, ending);
      const fingerprint = remembered ? fingerprintOf(ending) : undefined;
      const request = { taskId, ending, principalId, fingerprint };
      const outcome = await this.#queue.push(request).catch((error: unknown) => this.refused(taskId, error));
      if (outcome.outcome === 'refused') throw outcome.error;
      const { record, after } = outcome.written;
      if (record.earlier) return record.earlier.answer;
      linkToStory(record.traceparent);
      const answer = answerOf(outcome.written);
      note({ outcome: after.status, eventId: answer.eventId });
      return answer;
    });
  }

  /** Before the lock: a check takes some milliseconds. @throws RequestValidationError */
  private async refuseInvalid(taskId: string, ending: Ending): Promise<void> {
    if (ending.kind !== 'complete' || !this.policies.haveSchemas('resultSchema')) return;
    const head = await readTaskHead(this.database, taskId);
    const schema = head && this.policies.schemaOf(head.identity.taskType, 'resultSchema');
    if (!schema) return;
    const { result } = ending;
    const errors = schema.errorsOf(result instanceof JsonText ? await treeOf(result) : (result ?? null));
    if (errors.length === 0) return;
    const found = under('result', errors);
    const [first] = found.map(({ path, message }) => `${path} ${message}`);
    throw new RequestValidationError(found, `The result is not as the schema of the type says: ${first}`);
  }

  /** The queue has already tried this end alone. */
  private async refused(taskId: string, error: unknown): Promise<never> {
    if (!(error instanceof TaskBridgeError)) await this.writer.examine((tx) => lockTask(tx, taskId), error);
    throw error;
  }

  private async store(requests: readonly EndRequest[]): Promise<readonly (EndOutcome | Locked)[]> {
    const taskIds = requests.map(({ taskId }) => taskId);
    const outcomes = await this.writer.writeEach<EndingRecord>(
      (tx) => this.lock(tx, requests),
      ({ earlier, request }) => {
        if (earlier && earlier.fingerprint !== request.fingerprint) throw new LeaseLost();
        return earlier ? null : request.ending;
      },
      ({ request: { principalId } }) => (principalId === undefined ? {} : { principalId }),
      async (tx, written) => {
        const endings = written.flatMap((one) => {
          const { taskId, ending, fingerprint } = one.record.request;
          if (one.record.earlier || fingerprint === undefined) return [];
          return { taskId, token: ending.token, fingerprint, answer: answerOf(one) };
        });
        if (endings.length > 0) await insertLeaseEndings(tx, endings);
      },
    );
    const missing = taskIds.filter((taskId) => !outcomes.has(taskId));
    const locked = missing.length > 0 ? await findTasks(this.database, missing) : new Set<string>();
    return taskIds.map((taskId) => {
      const result = outcomes.get(taskId);
      if (result === undefined && locked.has(taskId)) return { outcome: 'locked' };
      if (result === undefined) return { outcome: 'refused', error: new LeaseLost() };
      return result instanceof TaskBridgeError
        ? { outcome: 'refused', error: result }
        : { outcome: 'ended', written: result };
    });
  }

  private async lock(tx: Queryable, requests: readonly EndRequest[]): Promise<readonly EndingRecord[]> {
    const records = await lockTasks(
      tx,
      requests.map(({ taskId }) => taskId),
    );
    const byTask = new Map(requests.map((request) => [request.taskId, request]));
    const called = records.flatMap((record) => {
      const request = byTask.get(record.identity.taskId);
      return request ? { ...record, request } : [];
    });
    // The call is stored with the end of its lease, so while the lease is held there is nothing to find.
    const over = called.filter(
      ({ task: { run }, request: { ending, fingerprint } }) =>
        fingerprint !== undefined && !(run.state === 'leased' && run.token === ending.token),
    );
    const earlier =
      over.length > 0
        ? await findLeaseEndings<Ended>(
            tx,
            over.map(({ request: { taskId, ending } }) => ({ taskId, token: ending.token })),
          )
        : new Map<string, LeaseEnding<Ended>>();
    return called.map((record) => ({ ...record, earlier: earlier.get(record.identity.taskId) }));
  }
}

function lengthOf(ending: Ending): number {
  return ending.kind === 'complete' && ending.result instanceof JsonText ? ending.result.json.length : 0;
}

function answerOf({ after }: { readonly after: TaskRecord['task'] }): Ended {
  return { eventId: String(after.headEventId), willRetry: after.run.state === 'queued' && !isOver(after.status) };
}

/** The fingerprint of the call's JSON, for any order of its members. */
function fingerprintOf(ending: Ending): string {
  return createHash('sha256')
    .update(canonicalJson(ending as unknown as CanonicalPart))
    .digest('hex');
}
