import type { FailureCode } from '#protocol/errors.js';
import { endsTask } from '#protocol/events.js';
import { SYSTEM_PRINCIPAL_ID } from '../auth/auth-context.js';
import type { Queryable } from '../database/queryable.js';
import { adopted, claimedUnseen, type FoundEvent, replayed } from './domain/adopt.js';
import { messageEvent } from './domain/event-payloads.js';
import { isOver, NEW_TASK, type Task } from './domain/task.js';
import { newEvent, type NewEvent } from './domain/task-event.js';
import {
  type AddedEvent,
  type AsideTask,
  lockAsideTask,
  loggedEvents,
  type LoggedQuestion,
  restoreTask,
} from './store/repaired-rows.js';

/** The most missing ids below a stored event that are filled. Events further away stay where they are. */
const MOST_FILLED = 1_000;

/** The message of the TASK_FAILED that ends a task behind events that it could not adopt. */
const NOT_REPAIRABLE: FailureCode = 'NOT_REPAIRABLE';

export class RepairRefused extends Error {
  override readonly name = 'RepairRefused';
}

export interface Repaired {
  /** How many events above the head the task adopted. */
  readonly adopted: number;
  /** The first stored event that is too far above the others: it stays where it is. */
  readonly beyond: number | undefined;
  /** Whether the task was ended because its log does not allow it to continue. */
  readonly isEnded: boolean;
  readonly task: Task;
}

/**
 * Makes a task that was set aside anew from its log, which no role can change. The task adopts events that follow its head
 * densely and legally, because a client may have read them. If other events follow, the task ends behind them. Runs within a
 * transaction.
 * @throws RepairRefused when there is no such task, or it was not set aside
 */
export async function repairTask(tx: Queryable, taskId: string): Promise<Repaired> {
  const aside = await lockAsideTask(tx, taskId);
  if (!aside) throw new RepairRefused('there is no such task');
  if (aside.asideCode === null) throw new RepairRefused('it is not set aside: there is nothing to repair');
  const walk = new Walk(aside);
  for await (const event of loggedEvents(tx, taskId)) {
    if (!walk.take(event.eventId, event)) break;
  }
  walk.finish();
  const { task, added, question } = walk;
  await restoreTask(tx, taskId, task, added, { question, principalId: SYSTEM_PRINCIPAL_ID });
  return { adopted: walk.adopted, beyond: walk.beyond, isEnded: walk.isBroken, task };
}

/** The walk through the log, from the first event to the last. */
class Walk {
  task = NEW_TASK;
  adopted = 0;
  /** The log has an event that no decision leads to. */
  isBroken = false;
  beyond: number | undefined;
  question: LoggedQuestion | undefined;
  readonly added: AddedEvent[] = [];
  #isPastHead = false;

  constructor(private readonly aside: AsideTask) {
    const reason = aside.cancelReason;
    this.task = { ...NEW_TASK, cancellation: reason === null ? null : { reason } };
  }

  /** @returns false when no later event matters */
  take(eventId: number, event: FoundEvent): boolean {
    if (eventId > this.aside.headEventId) this.passHead();
    if (isOver(this.task.status)) return false;
    const missing = eventId - this.task.headEventId - 1;
    if (missing > 0) this.isBroken = true;
    if (missing > MOST_FILLED) {
      this.beyond = eventId;
      return false;
    }
    for (let n = 0; n < missing; n += 1) this.add(this.filler());
    this.task = this.after(event);
    if (event.type === 'TASK_SUSPENDED')
      this.question = { eventId, payload: event.payload as Readonly<Record<string, unknown>> };
    return true;
  }

  finish(): void {
    this.passHead();
    const { task } = this;
    if (isOver(task.status)) {
      this.isBroken = false;
    } else if (this.isBroken) {
      const message = 'The stored state of the task does not allow it to continue.';
      this.add(newEvent('TASK_FAILED', { code: NOT_REPAIRABLE, message, retryable: true }));
    } else if (task.cancellation && task.run.state !== 'leased') {
      this.add(newEvent('TASK_CANCELLED', { reason: task.cancellation.reason }));
    }
  }

  private after(event: FoundEvent): Task {
    if (!this.#isPastHead) return replayed(this.task, event);
    this.adopted += 1;
    const next = this.isBroken && !endsTask(event.type) ? undefined : adopted(this.task, event);
    if (next) return next;
    this.isBroken = true;
    return { ...this.task, headEventId: this.task.headEventId + 1 };
  }

  /** The lease number shows a claim that left no event. */
  private passHead(): void {
    if (this.#isPastHead) return;
    this.#isPastHead = true;
    const { run, leaseNumber } = this.task;
    if (run.state === 'queued' && this.aside.leaseNumber === leaseNumber + 1) this.task = claimedUnseen(this.task);
  }

  private filler(): NewEvent {
    if (this.task.headEventId === 0) return newEvent('TASK_STARTED', {});
    return messageEvent('An event is missing here.', 'debug');
  }

  private add(event: NewEvent): void {
    this.added.push({ ...event, eventId: this.task.headEventId + 1 });
    this.task = replayed(this.task, { ...event, attempt: null, leaseNumber: null, hasReceipt: false });
  }
}
