import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import type { Queryable } from '../database/queryable.js';
import { LiveLog } from '../delivery/live-log.js';
import { linkToStory } from '../observability/correlation.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { TasksConfig } from './tasks.config.js';
import { decide, type Command, type Decision } from './domain/decide.js';
import type { Question } from './domain/suspension.js';
import { isOver, type Task } from './domain/task.js';
import type { NewEvent } from './domain/task-event.js';
import { AlreadyAsked, EventTooLarge } from './domain/tasks.errors.js';
import type { StoredEvent } from './stored-event.js';
import type { TaskRecord } from './store/task-row.js';
import { openSuspension, settleSuspension } from './store/suspensions.js';
import { writeTasks, type TaskChange } from './store/write-tasks.js';

/** The largest result, as the JSON of the terminal event. */
export const MAX_RESULT_BYTES = 1024 * 1024;

/** On whose behalf a change is made; stored with its events. */
export interface Actor {
  /** Absent: the worker that holds the lease. */
  readonly principalId?: string;
  /** Absent: the task's own story, begun by the request that created it. */
  readonly correlationId?: string;
  /** Set by a claim: who holds the lease. */
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

/** Names the attempt, and cannot be guessed: 122 random bits. */
export function newLeaseToken(attempt: number): string {
  return `${attempt}.${randomUUID()}`;
}

/** The attempt that a token names. Says nothing about whether the token is one: that is for the fence. */
export function attemptOf(leaseToken: string): number {
  return Number.parseInt(leaseToken, 10) || 1;
}

/**
 * The one door through which a task changes: lock its row, decide, insert the events with the next ids, update the projection,
 * commit, and only then publish.
 */
@Injectable()
export class TaskWriter {
  constructor(
    private readonly database: Database,
    private readonly liveLog: LiveLog,
    private readonly config: TasksConfig,
    private readonly metrics: MetricsSink,
  ) {}

  /**
   * One result for each task that `lock` found; a task without a command stays as it is. Nothing is stored unless all is,
   * `beside` included: what belongs to the change and is no event.
   */
  async write<Record extends TaskRecord>(
    lock: (tx: Queryable) => Promise<readonly Record[]>,
    command: (record: Record) => Command | null,
    actor: Actor,
    beside?: (tx: Queryable, written: readonly Written<Record>[]) => Promise<void>,
  ): Promise<readonly Written<Record>[]> {
    const written = await this.database.transaction(async (tx) => {
      const records = await lock(tx);
      const decided = records.map((record) => ({ record, ...this.decided(record.task, command(record)) }));
      const changed = decided.filter((d) => d.task !== d.record.task);
      const events =
        changed.length > 0
          ? await writeTasks(
              tx,
              changed.map((d) => this.change(d, actor)),
              this.config.leaseSeconds,
            )
          : [];
      for (const { record, task, events: decidedEvents } of changed) {
        await projectQuestion(tx, record.identity.taskId, record.task, task, decidedEvents);
      }
      const byTask = Map.groupBy(events, (event) => event.taskId);
      const result = decided.map(({ record, task }) => ({
        record,
        after: task,
        events: byTask.get(record.identity.taskId) ?? [],
      }));
      await beside?.(tx, result);
      return result;
    });
    for (const { record, after } of written) if (after !== record.task) linkToStory(record.traceparent);
    const events = written.flatMap((w) => w.events);
    for (const { type } of events) if (type === 'TASK_FAILED') this.metrics.increment('task_failures_total');
    if (events.length > 0) this.liveLog.publish(events);
    return written;
  }

  private decided(task: Task, command: Command | null): Decision {
    if (!command) return { events: [], task, claimableInMs: 0 };
    const { maxAttempts, maxEventsPerTask } = this.config;
    const decision = decide(task, command, { maxAttempts, maxEventsPerTask, jitter: Math.random() });
    for (const event of decision.events) this.refuseTooLarge(event);
    return decision;
  }

  /** Results and questions come from outside, and here for the first time as the event that they make. */
  private refuseTooLarge({ type, json }: NewEvent): void {
    if (type !== 'TASK_COMPLETED' && type !== 'TASK_SUSPENDED') return;
    const maxBytes = type === 'TASK_COMPLETED' ? MAX_RESULT_BYTES : this.config.maxEventPayloadBytes;
    if (Buffer.byteLength(json) > maxBytes) throw new EventTooLarge(maxBytes);
  }

  private change(
    decided: { record: TaskRecord; task: Task; events: TaskChange['events']; claimableInMs: number },
    actor: Actor,
  ): TaskChange {
    const { record, task, events, claimableInMs } = decided;
    return {
      taskId: record.identity.taskId,
      task,
      events,
      claimableInMs,
      suspendExpiresAt: expiryOf(events),
      workerId: task.run.state === 'leased' ? (actor.workerId ?? null) : null,
      principalId: actor.principalId ?? `worker:${record.workerId ?? ''}`,
      correlationId: actor.correlationId ?? record.identity.correlationId,
      causationId: actor.fromOutside ? null : record.task.headEventId || null,
    };
  }
}

/** The row of a question follows its task: opened with TASK_SUSPENDED, closed when the task ends without an answer. */
async function projectQuestion(
  tx: Queryable,
  taskId: string,
  before: Task,
  after: Task,
  events: readonly NewEvent[],
): Promise<void> {
  const asked = events.find(({ type }) => type === 'TASK_SUSPENDED');
  if (asked) {
    const isNew = await openSuspension(tx, taskId, asked.payload as unknown as Question, asked.json);
    if (!isNew) throw new AlreadyAsked();
  }
  if (before.run.state !== 'suspended' || !isOver(after.status)) return;
  await settleSuspension(tx, taskId, before.run.suspendId, before.run.expired ? 'expired' : 'closed', null);
}

function expiryOf(events: readonly NewEvent[]): string | null {
  const asked = events.find(({ type }) => type === 'TASK_SUSPENDED');
  return (asked?.payload['expiresAt'] as string | undefined) ?? null;
}
