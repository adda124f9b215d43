import { Injectable } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import { type Skip, tickRequestId } from '#protocol/schedules.js';
import { callerOf } from '../auth/stored-principal.js';
import { Database } from '../database/database.js';
import { currentCorrelationId, storyFrom } from '../observability/correlation.js';
import { Log } from '../observability/log.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { CheckInput } from '../tasks/check-input.js';
import { isOver } from '../tasks/domain/task.js';
import { hintChange, LiveLog } from '../tasks/ports/live-log.js';
import { TaskExecutor } from '../tasks/ports/task-executor.js';
import { planOf, textOf } from '../tasks/plan-of.js';
import { QueueOrder } from '../tasks/queue-order.js';
import { insertOne } from '../tasks/store/insert-planned-tasks.js';
import type { NewTaskRow } from '../tasks/store/insert-task.js';
import { lockTask } from '../tasks/store/lock-tasks.js';
import { TaskPolicies } from '../tasks/task-policies.js';
import { TaskWriter } from '../tasks/task-writer.js';
import { TasksConfig } from '../tasks/tasks.config.js';
import { lockOwners } from '../uploads/owned-bytes.js';
import { lastBefore, nextAfter } from './clock-times.js';
import { type DueSchedule, lockTick, type Move, moveSchedule, readDueSchedules } from './schedule-rows.js';

/** A tick that is later than this was missed: no replica was there. */
const MISSED_AFTER_MS = 60_000;
/** Schedules that are read at a time, and that are worked on at a time: a policy of a host may be slow. */
const PAGE = 100;
const AT_ONE_TIME = 8;
/** Why a tick makes no task although it should: somebody has to do something. */
const REFUSALS: readonly Skip[] = ['forbidden', 'unknown_type', 'invalid_input', 'no_room'];

/**
 * Makes the tasks of due ticks. Every replica does. A tick is done in the transaction that moves its schedule on, under the lock of
 * its row, so it makes one task whatever replicas there are.
 */
@Injectable()
export class RunSchedules {
  readonly #maxOpenTasks: number | null;

  constructor(
    private readonly database: Database,
    private readonly writer: TaskWriter,
    private readonly ownership: OwnershipPolicy,
    private readonly executor: TaskExecutor,
    private readonly order: QueueOrder,
    private readonly policies: TaskPolicies,
    private readonly checkInput: CheckInput,
    private readonly liveLog: LiveLog,
    private readonly metrics: MetricsSink,
    private readonly log: Log,
    config: TasksConfig,
  ) {
    this.#maxOpenTasks = config.openTasksPerPrincipal || null;
  }

  /**
   * @param at the time to judge by; absent: that of the database
   * @throws what the first failing schedule throws, when all others had their turn
   */
  async execute(at?: Date): Promise<void> {
    const failures: unknown[] = [];
    for (let last: DueSchedule | undefined; ; ) {
      const due = await readDueSchedules(this.database, at, last, PAGE);
      last = due.at(-1);
      for (let i = 0; i < due.length; i += AT_ONE_TIME) {
        const some = due.slice(i, i + AT_ONE_TIME).map((schedule) => this.run(schedule));
        for (const result of await Promise.allSettled(some))
          if (result.status === 'rejected') failures.push(result.reason);
      }
      if (due.length < PAGE) break;
    }
    if (failures.length > 0) throw failures[0];
  }

  private async run(schedule: DueSchedule): Promise<void> {
    const { nextAt: tick, now, overlap, lastSkip, lastStatus, taskType } = schedule;
    const isLate = now.getTime() - tick.getTime() > MISSED_AFTER_MS;
    // One that waits for the end of another task is late, and not missed.
    const missed = isLate && lastSkip !== 'queued' ? this.missed(schedule) : undefined;
    if (missed) return this.move(schedule, missed);
    const overlaps = lastStatus !== null && !isOver(lastStatus);
    if (overlaps && overlap === 'skip')
      return this.move(schedule, { nextAt: nextAfter(schedule, tick), skip: 'overlap' });
    if (overlaps && overlap === 'queue') {
      if (lastSkip !== 'queued') await this.move(schedule, { nextAt: tick, skip: 'queued' });
      return;
    }
    if (!this.executor.accepts(taskType))
      return this.move(schedule, { nextAt: this.nextOf(schedule), skip: 'unknown_type' });
    if (!(await this.ownership.mayCreate(callerOf(schedule.principal), { taskType })))
      return this.move(schedule, { nextAt: this.nextOf(schedule), skip: 'forbidden' });
    await this.policies.load();
    const errors = await this.checkInput.errorsIn({ taskType, ...textOf('input', schedule.inputJson) });
    if (errors.length > 0) return this.move(schedule, { nextAt: this.nextOf(schedule), skip: 'invalid_input' });
    if (overlaps) await this.cancelPrevious(schedule);
    await this.make(schedule);
  }

  /** Of the ticks that were missed, the newest are made up. Undefined: this one is among them. */
  private missed(schedule: DueSchedule): Move | undefined {
    const { nextAt: tick, now, catchUp } = schedule;
    const since = new Date(now.getTime() - MISSED_AFTER_MS);
    const [first] = lastBefore(schedule, since, tick, catchUp);
    if (first?.getTime() === tick.getTime()) return undefined;
    return { nextAt: first ?? nextAfter(schedule, since), skip: 'missed' };
  }

  private nextOf(schedule: DueSchedule): Date | null {
    return nextAfter(schedule, schedule.nextAt);
  }

  private async move(schedule: DueSchedule, move: Move): Promise<void> {
    const isDone = await this.database.transaction(async (tx) => {
      if (!(await lockTick(tx, schedule))) return false;
      await moveSchedule(tx, schedule, move);
      return true;
    });
    if (isDone && move.skip !== null && move.skip !== 'queued') this.skipped(schedule, move.skip);
  }

  private skipped({ tenantId, ownerId, name, taskType, nextAt: tick }: DueSchedule, outcome: Skip): void {
    this.metrics.increment('schedule_ticks_total', { outcome });
    if (REFUSALS.includes(outcome))
      this.log.warn({ tenantId, ownerId, name, taskType, tick, outcome }, 'schedules.refused');
  }

  /** Asked before the new task is there, so a crash between both repeats it. */
  private async cancelPrevious({ lastTaskId, principal }: DueSchedule): Promise<void> {
    if (lastTaskId === null) return;
    const [written] = await this.writer.write(
      (tx) => lockTask(tx, lastTaskId),
      () => ({ kind: 'request_cancellation', reason: 'schedule' }),
      { principalId: principal.subject, correlationId: currentCorrelationId(), fromOutside: true },
    );
    if (written) this.executor.cancelled({ taskId: lastTaskId, workerId: written.record.workerId });
  }

  private async make(schedule: DueSchedule): Promise<void> {
    const { tenantId, ownerId, taskType, nextAt: tick } = schedule;
    await this.order.load();
    const content = { ...textOf('input', schedule.inputJson), ...textOf('metadata', schedule.metadataJson) };
    const row = { ...this.rowOf(schedule), plan: await planOf({}, this.policies.of(taskType), content) };
    const outcome = await this.database.transaction(async (tx) => {
      await lockOwners(tx, [schedule]);
      if (!(await lockTick(tx, schedule))) return undefined;
      const inserted = await insertOne(tx, row, this.#maxOpenTasks);
      const nextAt = this.nextOf(schedule);
      if (inserted.outcome === 'passed_over') {
        await moveSchedule(tx, schedule, { nextAt, skip: 'no_room' });
        return 'no_room' as const;
      }
      const made = { at: tick, taskId: inserted.taskId };
      await moveSchedule(tx, schedule, { nextAt, made, skip: null });
      return inserted;
    });
    if (outcome === undefined) return;
    if (outcome === 'no_room') return this.skipped(schedule, outcome);
    this.metrics.increment('schedule_ticks_total', { outcome: 'created' });
    if (outcome.place !== null) this.order.placed(row, outcome.place);
    this.metrics.increment('task_starts_total');
    this.executor.submitted({ taskId: outcome.taskId, taskType });
    hintChange(this.liveLog, { tenantId, ownerId });
  }

  private rowOf({ tenantId, ownerId, name, taskType, inputJson, metadataJson, nextAt }: DueSchedule): NewTaskRow {
    const { correlationId, traceparent } = storyFrom(undefined);
    return {
      ...{ tenantId, ownerId, taskType, inputJson, metadataJson, correlationId, traceparent },
      taskId: uuidv7(),
      clientRequestId: tickRequestId(name, nextAt),
      // No create is equal to it: it may not have such an id.
      ...{ fingerprint: '', contentFingerprint: '' },
      earliestPlace: this.order.earliest({ tenantId, ownerId, taskType }),
    };
  }
}
