import type { FailureCode } from '#protocol/errors.js';
import { endsTask } from '#protocol/events.js';
import { SYSTEM_PRINCIPAL_ID } from '../auth/auth-context.js';
import type { Queryable } from '../database/queryable.js';
import { adopted, claimedUnseen, type FoundEvent, replayed } from './domain/adopt.js';
import { messageEvent } from './domain/event-payloads.js';
import { isOver, NEW_TASK, type Task } from './domain/task.js';
import { newEvent, type NewEvent } from './domain/task-event.js';
import { type AddedEvent, type AsideTask, lockAsideTask, loggedEvents, restoreTask } from './store/repair.js';

/** Ids that are missing below an event that is stored, and are filled. An id further away is left where it is. */
const MOST_FILLED = 1_000;

/** Of the TASK_FAILED that ends a task behind events that could not be adopted. */
const NOT_REPAIRABLE: FailureCode = 'NOT_REPAIRABLE';

export class RepairRefused extends Error {
  override readonly name = 'RepairRefused';
}

export interface Repaired {
  /** Events above the head that became the task's. */
  readonly adopted: number;
  /** Whether the task was ended because its log does not allow it to go on. */
  readonly isEnded: boolean;
  readonly task: Task;
}

/**
 * Makes a task that was set aside anew from its log, which nobody can change: what follows its head densely and legally becomes its
 * own, whoever stored it, because it may have been read. Where something else follows, the task ends behind it. Within a transaction.
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
  return { adopted: walk.adopted, isEnded: walk.isBroken, task };
}

/** From the first event to the last. */
class Walk {
  task = NEW_TASK;
  adopted = 0;
  /** Something was found that no decision leads to. */
  isBroken = false;
  question: Readonly<Record<string, unknown>> = {};
  readonly added: AddedEvent[] = [];
  #isPastHead = false;

  constructor(private readonly aside: AsideTask) {
    const reason = aside.cancelReason;
    this.task = { ...NEW_TASK, cancellation: reason === null ? null : { reason } };
  }

  /** @returns false when no event after this one is of interest */
  take(eventId: number, event: FoundEvent): boolean {
    if (eventId > this.aside.headEventId) this.passHead();
    if (isOver(this.task.status)) return false;
    const missing = eventId - this.task.headEventId - 1;
    if (missing > 0) this.isBroken = true;
    if (missing > MOST_FILLED) return false;
    for (let n = 0; n < missing; n += 1) this.add(this.filler());
    this.task = this.after(event);
    if (event.type === 'TASK_SUSPENDED') this.question = event.payload as Readonly<Record<string, unknown>>;
    return true;
  }

  finish(): void {
    this.passHead();
    const { task } = this;
    if (isOver(task.status)) {
      this.isBroken = false;
    } else if (this.isBroken) {
      const message = 'What is stored of the task does not allow it to go on.';
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

  /** A claim that left no event is known by the number of its lease. */
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
