import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import type { Queryable } from '../database/queryable.js';
import { LiveLog } from '../delivery/live-log.js';
import { TasksConfig } from './tasks.config.js';
import { decide, type Command } from './domain/decide.js';
import type { Task } from './domain/task.js';
import type { StoredEvent } from './stored-event.js';
import type { TaskRecord } from './store/task-row.js';
import { writeTasks, type TaskChange } from './store/write-tasks.js';

/** On whose behalf a change is made; stored with its events. */
export interface Actor {
  readonly principalId: string;
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

/** A token that cannot be guessed: 122 random bits. */
export function newLeaseToken(): string {
  return randomUUID();
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
  ) {}

  /** One result for each task that `lock` found. Nothing is stored unless all of them are. */
  async write<Record extends TaskRecord>(
    lock: (tx: Queryable) => Promise<readonly Record[]>,
    command: (record: Record) => Command,
    actor: Actor,
  ): Promise<readonly Written<Record>[]> {
    const written = await this.database.transaction(async (tx) => {
      const records = await lock(tx);
      const decided = records.map((record) => ({ record, ...decide(record.task, command(record), this.rules()) }));
      const changed = decided.filter((d) => d.task !== d.record.task);
      const events =
        changed.length > 0
          ? await writeTasks(tx, changed.map((d) => this.change(d, actor)), this.config.leaseSeconds)
          : [];
      const byTask = Map.groupBy(events, (event) => event.taskId);
      return decided.map(({ record, task }) => ({
        record,
        after: task,
        events: byTask.get(record.identity.taskId) ?? [],
      }));
    });
    const events = written.flatMap((w) => w.events);
    if (events.length > 0) this.liveLog.publish(events);
    return written;
  }

  private rules() {
    return {
      maxAttempts: this.config.maxAttempts,
      maxEventsPerTask: this.config.maxEventsPerTask,
      jitter: Math.random(),
    };
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
      workerId: task.run.state === 'leased' ? (actor.workerId ?? null) : null,
      principalId: actor.principalId,
      correlationId: actor.correlationId ?? record.identity.correlationId,
      causationId: actor.fromOutside ? null : record.task.headEventId || null,
    };
  }
}
