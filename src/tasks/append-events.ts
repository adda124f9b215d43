import { Injectable } from '@nestjs/common';
import { endsTask } from '#protocol/events.js';
import { isFaultOfData } from '../database/database.errors.js';
import { Database } from '../database/database.js';
import { canonicalForm } from '../json/canonical-json.js';
import { JsonText } from '../json/json-text.js';
import { LiveLog } from './ports/live-log.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { BatchQueue, type Locked } from './batch-queue.js';
import { IdempotencyConflict, LeaseLost } from './domain/tasks.errors.js';
import { appendBatch, type AppendOutcome, type AppendRequest } from './store/append-batch.js';
import { insertEventKeys, readEventKeys, type StoredKeys } from './store/event-keys.js';
import { lockTask } from './store/lock-tasks.js';
import { readBatch } from './store/read-batch.js';
import type { StoredStep } from './domain/lease.js';
import { insertStep, readStep } from './store/steps.js';
import type { TaskRecord } from './store/task-row.js';
import { renewLease } from './store/renew-leases.js';
import type { StoredEvent } from './domain/stored-event.js';
import { TaskWriter, type Written } from './task-writer.js';
import { TasksConfig } from './tasks.config.js';

/** About as many events as PostgreSQL stores in some seconds. */
const MAX_WAITING_EVENTS = 20_000;
/** A larger batch is no faster, and makes all its requests wait longer. */
const MAX_BATCH_EVENTS = 500;

/** A batch with a number. */
type NumberedRequest = AppendRequest & Required<Pick<AppendRequest, 'batchSeq'>>;
export type StepRequest = NumberedRequest & Required<Pick<AppendRequest, 'step'>>;

export interface StepReceipt extends Omit<AppendReceipt, 'events'> {
  readonly step: StoredStep;
}

export interface AppendReceipt {
  readonly events: readonly Pick<StoredEvent, 'eventId'>[];
  /** By the database clock; every accepted batch extends the lease. */
  readonly leaseExpiresAt: string;
  readonly cancellationRequested: boolean;
}

interface KeyedRecord extends TaskRecord {
  readonly stored: StoredKeys;
}

interface StepRecord extends TaskRecord {
  readonly stored: StoredStep | undefined;
}

/** Stores a batch of a running attempt's events, or the end of a step, once. Answered after the commit. */
@Injectable()
export class AppendEvents {
  readonly #queue: AppendQueue;

  constructor(
    private readonly database: Database,
    private readonly liveLog: LiveLog,
    private readonly writer: TaskWriter,
    private readonly config: TasksConfig,
    private readonly metrics: MetricsSink,
  ) {
    this.#queue = new AppendQueue((requests) => this.store(requests));
  }

  /**
   * @throws LeaseLost when the lease is over, or the task came to its limit of events and was ended
   * @throws TaskAside when the task is set aside, also because these events could not be stored
   * @throws BatchOutOfOrder, IdempotencyConflict when `batchSeq` is not the next, or was used with other content
   * @throws TooMuchWaiting, DatabaseUnavailable when it may be tried again with the same `batchSeq`
   */
  async execute(request: AppendRequest): Promise<AppendReceipt> {
    const stored = await this.stored(request);
    if (stored) return stored;
    const { batchSeq } = request;
    return batchSeq === undefined ? this.explainKeyed(request) : this.explain({ ...request, batchSeq });
  }

  /**
   * The same for a step, whose one event is that of its end. A step that was finished before stores nothing: the batch counts, and the
   * answer has the stored result.
   */
  async finishStep(request: StepRequest): Promise<StepReceipt> {
    const stored = await this.stored(request);
    if (!stored) return this.explainStep(request);
    const { leaseExpiresAt, cancellationRequested, events } = stored;
    const eventId = events[0]?.eventId ?? 0;
    const { key, resultJson } = request.step;
    return { step: { key, eventId, result: new JsonText(resultJson) }, leaseExpiresAt, cancellationRequested };
  }

  /** Undefined: the statement refused it. */
  private async stored(request: AppendRequest): Promise<AppendReceipt | undefined> {
    const arrivedAt = performance.now();
    const outcome = await this.#queue.push(request).catch((error: unknown) => this.refused(request, error));
    if (outcome.outcome === 'refused') return undefined;
    this.metrics.observe('append_seconds', (performance.now() - arrivedAt) / 1000);
    return outcome;
  }

  /** The queue has already tried this request alone. */
  private async refused({ taskId }: AppendRequest, error: unknown): Promise<never> {
    if (isFaultOfData(error)) await this.writer.examine((tx) => lockTask(tx, taskId), error);
    throw error;
  }

  private async store(requests: readonly AppendRequest[]): Promise<readonly AppendOutcome[]> {
    const outcomes = await appendBatch(this.database, requests, this.config);
    this.liveLog.publish(outcomes.flatMap((outcome) => (outcome.outcome === 'stored' ? outcome.events : [])));
    return outcomes;
  }

  /** The statement reports only that it stored nothing. The domain decides the reason and the consequence. */
  private async explain(request: NumberedRequest): Promise<AppendReceipt> {
    const { taskId, leaseToken: token, batchSeq, events, principalId } = request;
    const [written] = await this.writer.write(
      (tx) => lockTask(tx, taskId),
      () => ({ kind: 'append', token, batchSeq, events }),
      principalId === undefined ? {} : { principalId },
    );
    if (!written) throw new LeaseLost();
    if (written.record.task === written.after) {
      const stored = await readBatch(this.database, taskId, written.after.leaseNumber, batchSeq);
      const equal =
        stored.length === events.length &&
        stored.every((event, i) => event.type === events[i]?.type && isSameJson(event.payloadJson, events[i].json));
      if (!equal) throw new IdempotencyConflict('batchSeq');
      return { events: stored, ...(await this.renewed(request)) };
    }
    if (written.events.some((event) => endsTask(event.type))) throw new LeaseLost();
    return { events: written.events, ...(await this.renewed(request)) };
  }

  private async explainKeyed(request: AppendRequest): Promise<AppendReceipt> {
    const { taskId, leaseToken: token, events, principalId } = request;
    const keys = events.map(({ key }) => key ?? '');
    const addedBy = ({ record: { stored }, events: added }: Written<KeyedRecord>): StoredKeys =>
      new Map(keys.filter((key) => !stored.has(key)).map((key, i) => [key, added[i]?.eventId ?? 0]));
    const isEnd = (change: Written) => change.events.some(({ type }) => endsTask(type));
    const [written] = await this.writer.write<KeyedRecord>(
      async (tx) => {
        const [record] = await lockTask(tx, taskId);
        return record ? [{ ...record, stored: await readEventKeys(tx, taskId, record.task.attempt, keys) }] : [];
      },
      ({ stored }) => ({ kind: 'append_keyed', token, events, storedKeys: new Set(stored.keys()) }),
      principalId === undefined ? {} : { principalId },
      async (tx, [change]) => {
        if (!change || isEnd(change) || change.events.length === 0) return;
        await insertEventKeys(tx, taskId, change.after.attempt, addedBy(change));
      },
    );
    if (!written || isEnd(written)) throw new LeaseLost();
    const named = new Map([...written.record.stored, ...addedBy(written)]);
    return { events: keys.map((key) => ({ eventId: named.get(key) ?? 0 })), ...(await this.renewed(request)) };
  }

  private async explainStep(request: StepRequest): Promise<StepReceipt> {
    const { taskId, leaseToken: token, batchSeq, principalId, step } = request;
    const [written] = await this.writer.write<StepRecord>(
      async (tx) => {
        const [record] = await lockTask(tx, taskId);
        return record ? [{ ...record, stored: await readStep(tx, taskId, step.key) }] : [];
      },
      ({ stored }) => ({ kind: 'finish_step', token, batchSeq, key: step.key, isStored: stored !== undefined }),
      principalId === undefined ? {} : { principalId },
      async (tx, [change]) => {
        const event = change?.events.find(({ type }) => type === 'TASK_STEP');
        if (event) await insertStep(tx, taskId, step, { eventId: event.eventId, attempt: change?.after.attempt ?? 0 });
      },
    );
    if (!written) throw new LeaseLost();
    const { record, after, events } = written;
    if (events.some((event) => endsTask(event.type))) throw new LeaseLost();
    const [event] = events;
    const finished = event
      ? { key: step.key, eventId: event.eventId, result: new JsonText(step.resultJson) }
      : record.stored;
    if (record.task === after) {
      const batch = await readBatch(this.database, taskId, after.leaseNumber, batchSeq);
      // A batch that stored nothing was a step that had been finished before.
      if (batch.some(({ eventId }) => eventId !== finished?.eventId)) throw new IdempotencyConflict('batchSeq');
    }
    if (!finished) throw new IdempotencyConflict('batchSeq');
    return { step: finished, ...(await this.renewed(request)) };
  }

  private async renewed({ taskId, leaseToken }: AppendRequest): Promise<Omit<AppendReceipt, 'events'>> {
    const lease = await renewLease(this.database, { taskId, leaseToken }, this.config.leaseSeconds);
    if (!lease) throw new LeaseLost();
    return lease;
  }
}

/** By value: 0.1.0 stored the line ends U+0085, U+2028 and U+2029 as they are, and not as escapes. */
function isSameJson(a: string, b: string): boolean {
  return a === b || canonicalForm(a) === canonicalForm(b);
}

/** A task is in one batch at a time, so its requests are stored in their order of arrival. */
export class AppendQueue extends BatchQueue<AppendRequest, Exclude<AppendOutcome, Locked>> {
  constructor(store: (requests: readonly AppendRequest[]) => Promise<readonly AppendOutcome[]>) {
    super(store, {
      keyOf: ({ taskId }) => taskId,
      sizeOf: ({ events }) => events.length,
      maxWaiting: MAX_WAITING_EVENTS,
      maxBatch: MAX_BATCH_EVENTS,
    });
  }
}
