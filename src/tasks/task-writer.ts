import { Injectable } from '@nestjs/common';
import { MAX_RESULT_BYTES } from '#protocol/limits.js';
import { isFaultOfData } from '../database/database.errors.js';
import { Database, type Transaction } from '../database/database.js';
import type { Queryable } from '../database/queryable.js';
import { HeldTasks } from './held-tasks.js';
import { type Aside, type Fault, putAside, logAside } from './put-aside.js';
import { hintChange, LiveLog } from './ports/live-log.js';
import { linkToStory } from '../observability/correlation.js';
import { Log } from '../observability/log.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { TaskBridgeError } from '../errors.js';
import { TaskPolicies } from './task-policies.js';
import { QueueOrder } from './queue-order.js';
import { TasksConfig } from './tasks.config.js';
import { decide, type Command, type Decision } from './domain/decide.js';
import { isOver, type Task } from './domain/task.js';
import type { NewEvent } from './domain/task-event.js';
import { AlreadyAsked, EventTooLarge, TaskAside } from './domain/tasks.errors.js';
import type { StoredEvent } from './domain/stored-event.js';
import type { TaskRecord } from './store/task-row.js';
import { openSuspension, settleSuspension } from './store/suspensions.js';
import { writeTasks, type TaskChange } from './store/write-tasks.js';

/** The actor of a change, stored with its events. */
export interface Actor {
  /** Absent: the worker that holds the lease. */
  readonly principalId?: string;
  /** Absent: the task's own story, begun by the request that created it. */
  readonly correlationId?: string;
  /** Set by a claim: the holder of the lease. */
  readonly workerId?: string;
  /** Whether a request from outside caused the change (then nothing in the log did). */
  readonly fromOutside?: boolean;
}

export interface Written<Record extends TaskRecord = TaskRecord> {
  /** The task as it was when it was locked. */
  readonly record: Record;
  readonly after: Task;
  readonly events: readonly StoredEvent[];
}

/** The result of a sweep: the number of found tasks, and the written ones. The difference was set aside. */
export interface Swept<Record extends TaskRecord = TaskRecord> {
  readonly found: number;
  readonly written: readonly Written<Record>[];
}

interface Decided<Record extends TaskRecord> extends Decision {
  readonly record: Record;
}

interface Stored<Record extends TaskRecord> {
  readonly events: readonly StoredEvent[];
  readonly faults: readonly Fault<Record>[];
}

/**
 * The one door through which a task changes: lock its row, decide, insert the events with the next ids, update the projection,
 * commit, and only then publish. A task whose stored state does not allow that is set aside, for an operator to repair.
 */
@Injectable()
export class TaskWriter {
  constructor(
    private readonly database: Database,
    private readonly liveLog: LiveLog,
    private readonly order: QueueOrder,
    private readonly policies: TaskPolicies,
    private readonly held: HeldTasks,
    private readonly config: TasksConfig,
    private readonly metrics: MetricsSink,
    private readonly log: Log,
  ) {}

  /**
   * One result for each task that `lock` found. A task without a command stays as it is. All changes are stored together or none,
   * with `beside`: the parts of the change that are no events.
   * @throws TaskAside when the task is set aside, also by this very call
   */
  async write<Record extends TaskRecord>(
    lock: (tx: Queryable) => Promise<readonly Record[]>,
    command: (record: Record) => Command | null,
    actor: Actor,
    beside?: (tx: Queryable, written: readonly Written<Record>[]) => Promise<void>,
  ): Promise<readonly Written<Record>[]> {
    try {
      return await this.writeNew(lock, command, actor, beside);
    } catch (error) {
      if (!(error instanceof TaskBridgeError)) await this.examine(lock, error);
      throw error;
    }
  }

  /** The same for tasks that `make` inserts in the transaction. A fault undoes all of it, so nothing is set aside. */
  writeNew<Record extends TaskRecord>(
    make: (tx: Transaction) => Promise<readonly Record[]>,
    command: (record: Record) => Command | null,
    actor: Actor,
    beside?: (tx: Queryable, written: readonly Written<Record>[]) => Promise<void>,
  ): Promise<readonly Written<Record>[]> {
    return this.published(async (tx) => {
      const records = await make(tx);
      const decided = records.map((record) => ({ record, ...this.decided(record, command(record)) }));
      const result = writtenOf(decided, await this.store(tx, decided, () => actor));
      await beside?.(tx, result);
      return result;
    });
  }

  /**
   * The same for many independent tasks. A task that cannot be written is set aside, and the others are written. An outage or a
   * timeout of PostgreSQL sets nothing aside.
   */
  async sweep<Record extends TaskRecord>(
    lock: (tx: Queryable) => Promise<readonly Record[]>,
    command: (record: Record) => Command | null,
    actor: Actor,
  ): Promise<Swept<Record>> {
    const store = async (tx: Transaction, decided: readonly Decided<Record>[]): Promise<Stored<Record>> => ({
      events: await this.store(tx, decided, () => actor),
      faults: [],
    });
    try {
      return await this.swept(lock, command, store);
    } catch (error) {
      if (!isFaultOfData(error)) throw error;
      return this.swept(lock, command, (tx, decided) => this.storeInHalves(tx, decided, actor));
    }
  }

  /**
   * The same for calls that have nothing to do with each other: each task has its own command and actor. What `decide` refuses is the
   * answer to that one call, and the others are written.
   */
  async writeEach<Record extends TaskRecord>(
    lock: (tx: Queryable) => Promise<readonly Record[]>,
    command: (record: Record) => Command | null,
    actorOf: (record: Record) => Actor,
    beside: (tx: Queryable, written: readonly Written<Record>[]) => Promise<void>,
  ): Promise<ReadonlyMap<string, Written<Record> | TaskBridgeError>> {
    const refused = new Map<string, TaskBridgeError>();
    const written = await this.database.transaction(async (tx) => {
      refused.clear();
      const decided: Decided<Record>[] = [];
      for (const record of await lock(tx)) {
        try {
          decided.push({ record, ...this.decided(record, command(record)) });
        } catch (error) {
          if (!(error instanceof TaskBridgeError)) throw error;
          refused.set(record.identity.taskId, error);
        }
      }
      const result = writtenOf(decided, await this.store(tx, decided, actorOf));
      await beside(tx, result);
      return result;
    });
    this.publish(written);
    const answers = new Map<string, Written<Record> | TaskBridgeError>(refused);
    for (const one of written) answers.set(one.record.identity.taskId, one);
    return answers;
  }

  /** @throws TaskAside when the task is set aside, now or before */
  async examine(lock: (tx: Queryable) => Promise<readonly TaskRecord[]>, error: unknown): Promise<void> {
    const faulty = await this.database.transaction(async (tx) => {
      const records = await lock(tx);
      // Another call met the task at the same time, and has logged it.
      if (records.some(({ task }) => task.run.state === 'aside')) throw new TaskAside();
      const faults = records.map((record) => ({ record, error }));
      return putAside(tx, faults, (code) => code !== 'NOT_WRITABLE');
    });
    for (const { record } of faulty) hintChange(this.liveLog, record.identity);
    logAside(this.log, faulty);
    if (faulty.length > 0) throw new TaskAside();
  }

  private async swept<Record extends TaskRecord>(
    lock: (tx: Queryable) => Promise<readonly Record[]>,
    command: (record: Record) => Command | null,
    store: (tx: Transaction, decided: readonly Decided<Record>[]) => Promise<Stored<Record>>,
  ): Promise<Swept<Record>> {
    let found = 0;
    let aside: readonly Aside[] = [];
    const written = await this.published(async (tx) => {
      const records = await lock(tx);
      found = records.length;
      const decided: Decided<Record>[] = [];
      const faults: Fault<Record>[] = [];
      for (const record of records) {
        try {
          if (record.flaw !== null) throw new Error(record.flaw);
          decided.push({ record, ...this.decided(record, command(record)) });
        } catch (error) {
          faults.push({ record, error });
        }
      }
      const stored = await store(tx, decided);
      aside = await putAside(tx, [...faults, ...stored.faults], () => true);
      const faulty = new Set(stored.faults.map(({ record }) => record));
      return writtenOf(
        decided.filter(({ record }) => !faulty.has(record)),
        stored.events,
      );
    });
    for (const { record } of aside) hintChange(this.liveLog, record.identity);
    logAside(this.log, aside);
    return { found, written };
  }

  private async published<Record extends TaskRecord>(
    work: (tx: Transaction) => Promise<readonly Written<Record>[]>,
  ): Promise<readonly Written<Record>[]> {
    const written = await this.database.transaction(work);
    for (const { record, after } of written) if (after !== record.task) linkToStory(record.traceparent);
    this.publish(written);
    return written;
  }

  private publish(written: readonly Written[]): void {
    const events = written.flatMap((w) => w.events);
    for (const { type } of events) if (type === 'TASK_FAILED') this.metrics.increment('task_failures_total');
    if (events.length > 0) this.liveLog.publish(events);
    for (const { record, after } of written) {
      if (after === record.task) continue;
      hintChange(this.liveLog, record.identity);
      if (record.task.run.state === 'leased' && after.run.state !== 'leased') this.held.ended(record.identity.taskType);
    }
  }

  /** Writes projection, events and questions of the changed tasks. */
  private async store<Record extends TaskRecord>(
    tx: Queryable,
    decided: readonly Decided<Record>[],
    actorOf: (record: Record) => Actor,
  ): Promise<readonly StoredEvent[]> {
    const changed = decided.filter((d) => d.task !== d.record.task);
    if (changed.length === 0) return [];
    const changes = changed.map((d) => this.change(d, actorOf(d.record)));
    const events = await writeTasks(tx, changes, this.config.leaseSeconds);
    for (const { record, task, events: decidedEvents } of changed) {
      await projectQuestion(tx, record.identity.taskId, record.task, task, decidedEvents);
    }
    return events;
  }

  /** A refused set of tasks is halved until the refused task is alone. */
  private async storeInHalves<Record extends TaskRecord>(
    tx: Transaction,
    decided: readonly Decided<Record>[],
    actor: Actor,
  ): Promise<Stored<Record>> {
    const [first] = decided;
    if (!first) return { events: [], faults: [] };
    try {
      return { events: await tx.undoable(() => this.store(tx, decided, () => actor)), faults: [] };
    } catch (error) {
      if (!isFaultOfData(error)) throw error;
      if (decided.length === 1) return { events: [], faults: [{ record: first.record, error }] };
      const middle = Math.ceil(decided.length / 2);
      const left = await this.storeInHalves(tx, decided.slice(0, middle), actor);
      const right = await this.storeInHalves(tx, decided.slice(middle), actor);
      return { events: [...left.events, ...right.events], faults: [...left.faults, ...right.faults] };
    }
  }

  private decided({ identity, task, maxAttempts, now }: TaskRecord, command: Command | null): Decision {
    if (!command) return { events: [], task, notBefore: null };
    const { maxEventsPerTask } = this.config;
    const decision = decide(task, command, {
      maxAttempts: this.policies.maxAttemptsOf(identity.taskType, maxAttempts),
      backoff: this.policies.backoffOf(identity.taskType),
      maxEventsPerTask,
      jitter: Math.random(),
      now,
    });
    for (const event of decision.events) this.refuseTooLarge(event);
    return decision;
  }

  /** Results and questions come from outside. Here their events have a size for the first time. */
  private refuseTooLarge({ type, json }: NewEvent): void {
    if (type !== 'TASK_COMPLETED' && type !== 'TASK_SUSPENDED') return;
    const maxBytes = type === 'TASK_COMPLETED' ? MAX_RESULT_BYTES : this.config.maxEventPayloadBytes;
    if (Buffer.byteLength(json) > maxBytes) throw new EventTooLarge(maxBytes);
  }

  private change(decided: Decided<TaskRecord>, actor: Actor): TaskChange {
    const { record, task, events, notBefore } = decided;
    return {
      taskId: record.identity.taskId,
      task,
      events,
      notBefore,
      place: this.order.now(record.identity.taskType),
      attemptSeconds: this.policies.of(record.identity.taskType).startToFinishSeconds ?? null,
      suspendExpiresAt: expiryOf(events),
      workerId: task.run.state === 'leased' ? (actor.workerId ?? null) : null,
      principalId: actor.principalId ?? `worker:${record.workerId ?? ''}`,
      correlationId: actor.correlationId ?? record.identity.correlationId,
      causationId: actor.fromOutside ? null : record.task.headEventId || null,
    };
  }
}

function writtenOf<Record extends TaskRecord>(
  decided: readonly Decided<Record>[],
  events: readonly StoredEvent[],
): readonly Written<Record>[] {
  const byTask = Map.groupBy(events, (event) => event.taskId);
  return decided.map(({ record, task }) => ({
    record,
    after: task,
    events: byTask.get(record.identity.taskId) ?? [],
  }));
}

/** The row of a question follows its task: opened with TASK_SUSPENDED, closed when the task ends without an answer. */
async function projectQuestion(
  tx: Queryable,
  taskId: string,
  before: Task,
  after: Task,
  events: readonly NewEvent[],
): Promise<void> {
  const asked = events.find((event) => event.type === 'TASK_SUSPENDED');
  if (asked) {
    const isNew = await openSuspension(tx, taskId, asked.payload, asked.json);
    if (!isNew) throw new AlreadyAsked();
  }
  if (before.run.state !== 'suspended' || !isOver(after.status)) return;
  await settleSuspension(tx, taskId, before.run.suspendId, before.run.expired ? 'expired' : 'closed', null);
}

function expiryOf(events: readonly NewEvent[]): string | null {
  return events.find((event) => event.type === 'TASK_SUSPENDED')?.payload.expiresAt ?? null;
}
