import type { FailureCode } from '#protocol/errors.js';
import type { EventType } from '#protocol/events.js';
import type { Backoff } from '#protocol/policies.js';
import { writeObject } from '../../json/json-text.js';
import { stepEvent } from './event-payloads.js';
import { evolve } from './evolve.js';
import { isOver, type Task } from './task.js';
import type { AcceptedAction, Question } from './suspension.js';
import { newEvent, type NewEvent, type Payload } from './task-event.js';
import { BatchOutOfOrder, EventInvalid, LeaseLost, TaskAside } from './tasks.errors.js';

/** What somebody wants of a task. `token` is the fence: only the attempt that holds the lease knows it. */
export type Command =
  | { readonly kind: 'claim'; readonly token: string }
  /** Of a new task that runs another one again: the steps whose results it has from there, in their order. */
  | { readonly kind: 'keep_steps'; readonly keys: readonly string[] }
  | { readonly kind: 'append'; readonly token: string; readonly batchSeq: number; readonly events: readonly NewEvent[] }
  /** Each event has a key, once. `storedKeys`: those, of these, that name an event of this attempt. */
  | {
      readonly kind: 'append_keyed';
      readonly token: string;
      readonly events: readonly NewEvent[];
      readonly storedKeys: ReadonlySet<string>;
    }
  /** `isStored`: the step was finished before, and has its result. */
  | {
      readonly kind: 'finish_step';
      readonly token: string;
      readonly batchSeq: number;
      readonly key: string;
      readonly isStored: boolean;
    }
  | { readonly kind: 'complete'; readonly token: string; readonly result: unknown }
  | {
      readonly kind: 'fail';
      readonly token: string;
      readonly code: string;
      readonly message: string;
      readonly retryable: boolean;
      readonly retryAfterMs?: number;
    }
  | { readonly kind: 'suspend'; readonly token: string; readonly question: Question }
  /** `isPutOutAgain`: output or progress lies after the last finished step, or after the begin of the attempt without any. */
  | { readonly kind: 'accept_action'; readonly action: AcceptedAction; readonly isPutOutAgain: boolean }
  | { readonly kind: 'expire_suspension' }
  | { readonly kind: 'confirm_cancellation'; readonly token: string; readonly reason?: string }
  | { readonly kind: 'release'; readonly token: string }
  | { readonly kind: 'lose_lease'; readonly retryAfterMs?: number }
  /** The time of the attempt is over. */
  | { readonly kind: 'time_out' }
  /** A deadline of the task has passed: it did not begin, or did not end, in time. */
  | { readonly kind: 'expire' }
  | { readonly kind: 'request_cancellation'; readonly reason: string }
  | { readonly kind: 'force_cancellation' };

/**
 * The numbers that decisions depend on. `jitter` is a random 0..1, and `now` the clock of the database in Unix milliseconds. The
 * caller draws and reads them, so that `decide` stays pure.
 */
export interface Rules {
  readonly maxAttempts: number;
  readonly backoff: Backoff;
  readonly maxEventsPerTask: number;
  readonly jitter: number;
  readonly now: number;
}

/** What a command leads to: events to store, and the task as it is then. No event and the same task: nothing to do. */
export interface Decision {
  readonly events: readonly NewEvent[];
  readonly task: Task;
  /** When a task that went back to the queue may be claimed, in RFC 3339; null: at once. */
  readonly notBefore: string | null;
}

/** Where nothing else is set. */
export const BACKOFF: Backoff = { firstSeconds: 1, maxSeconds: 10 };

/**
 * A batch or a step whose `batchSeq` was stored before decides nothing: the caller compares it with what is stored.
 * @throws TaskAside whatever is wanted of a task that was set aside
 * @throws LeaseLost when the command's token is not the lease's, or the lease is over
 * @throws BatchOutOfOrder when a batch before this one is missing
 * @throws EventInvalid when a new try of a step would void what it may not
 */
export function decide(task: Task, command: Command, rules: Rules): Decision {
  if (task.run.state === 'aside') throw new TaskAside();
  switch (command.kind) {
    case 'claim':
      return claimed(task, command.token);
    case 'keep_steps':
      return kept(task, command.keys, rules);
    case 'append':
      return nextBatch(task, command, () => appendable(task, command.events), rules);
    case 'append_keyed':
      holds(task, command.token);
      return withRoom(
        task,
        appendable(
          task,
          command.events.filter(({ key }) => !command.storedKeys.has(key ?? '')),
        ),
        rules,
      );
    case 'finish_step':
      // A task has one result of a step. Who stored it first wins, also over attempts.
      return nextBatch(task, command, () => (command.isStored ? [] : [stepEvent(command.key, task.attempt)]), rules);
    case 'complete':
      holds(task, command.token);
      return decided(task, withText('TASK_COMPLETED', { result: command.result ?? null }));
    case 'fail':
      holds(task, command.token);
      if (!command.retryable) return decided(task, failed(command.code, command.message, false));
      return spent(task, rules, command.code, failed(command.code, command.message, true), command.retryAfterMs);
    case 'suspend':
      holds(task, command.token);
      // Nobody would be there to go on with the answer.
      if (task.cancellation) return decided(task, cancelled(task));
      // A question needs places for its acceptance, and for what voids the output before it.
      if (!hasRoomFor(3, task, rules)) return decided(task, full());
      return decided(task, withText('TASK_SUSPENDED', { ...command.question }));
    case 'accept_action':
      return accepted(task, command, rules);
    case 'expire_suspension':
      if (task.run.state !== 'suspended' || !task.run.expired) return unchanged(task);
      return decided(task, failedByService('SUSPENSION_EXPIRED', 'Nobody answered in time.', true));
    case 'confirm_cancellation':
      holds(task, command.token);
      return decided(task, cancelled(task, undefined, command.reason));
    case 'release':
      holds(task, command.token);
      if (task.cancellation) return decided(task, cancelled(task));
      return hasRoomFor(1, task, rules) ? retried(task, 'released', rules.now) : decided(task, full());
    case 'lose_lease':
      if (task.run.state !== 'leased') return unchanged(task);
      return spent(
        task,
        rules,
        'lease_expired',
        failedByService('STALLED', 'Every attempt at the task stopped giving signs of life.', true),
        command.retryAfterMs,
      );
    case 'time_out':
      if (task.run.state !== 'leased') return unchanged(task);
      return spent(
        task,
        rules,
        'timed_out',
        failedByService('TIMED_OUT', 'The last attempt took longer than it may.', true),
      );
    case 'expire':
      if (isOver(task.status)) return unchanged(task);
      if (task.cancellation) return decided(task, cancelled(task));
      return decided(task, failedByService('EXPIRED', 'The deadline of the task has passed.', true));
    case 'request_cancellation':
      return requested(task, command.reason);
    case 'force_cancellation':
      if (isOver(task.status) || !task.cancellation) return unchanged(task);
      return decided(task, cancelled(task, 'CANCEL_FORCED'));
  }
}

/** The attempt that a claim begins; the resume after an answer goes on with the attempt that asked. */
export function nextAttempt({ attempt, run }: Task): number {
  return run.state === 'queued' && run.resumes ? attempt : attempt + 1;
}

/** The handler runs again from its start. A question of release 0.1.0 may have kept no place for TASK_RESUMED. */
function accepted(
  task: Task,
  { action, isPutOutAgain }: Extract<Command, { kind: 'accept_action' }>,
  rules: Rules,
): Decision {
  const answered = newEvent('TASK_ACTION_ACCEPTED', { ...action });
  if (!isPutOutAgain || !hasRoomFor(2, task, rules)) return decided(task, answered);
  return decided(task, answered, newEvent('TASK_RESUMED', { supersedesAfterEventId: String(task.attemptBase) }));
}

/** What a batch stores, when it is the next one. */
function nextBatch(
  task: Task,
  { token, batchSeq }: { readonly token: string; readonly batchSeq: number },
  stored: () => readonly NewEvent[],
  rules: Rules,
): Decision {
  holds(task, token);
  if (batchSeq <= task.batchSeq) return unchanged(task);
  if (batchSeq > task.batchSeq + 1) throw new BatchOutOfOrder(task.batchSeq + 1);
  return withRoom({ ...task, batchSeq }, stored(), rules);
}

/** The events, or the end of a task that has no room for them. */
function withRoom(task: Task, events: readonly NewEvent[], rules: Rules): Decision {
  const isTooMuch = events.length > 0 && !hasRoomFor(events.length, task, rules);
  return decided(task, ...(isTooMuch ? [full()] : events));
}

/** What a finished step put out stays, and nothing voids what is to come. @throws EventInvalid */
function appendable({ attemptBase, headEventId }: Task, events: readonly NewEvent[]): readonly NewEvent[] {
  for (const since of events.map(supersededBy)) {
    if (since === undefined || (since >= attemptBase && since <= headEventId)) continue;
    throw new EventInvalid('supersedesAfterEventId', `must be from ${attemptBase} to ${headEventId}`);
  }
  return events;
}

/** The event after which a new try of a step makes output and progress void; undefined for other events. */
export function supersededBy({ type, payload }: NewEvent): number | undefined {
  return type === 'TASK_STEP' && payload.state === 'retrying' ? Number(payload.supersedesAfterEventId) : undefined;
}

function claimed(task: Task, token: string): Decision {
  if (task.run.state !== 'queued') return unchanged(task);
  const begun = task.headEventId === 0 ? decided(task, newEvent('TASK_STARTED', {})) : unchanged(task);
  return {
    ...begun,
    task: {
      ...begun.task,
      attempt: nextAttempt(task),
      attemptBase: task.run.resumes || task.hasSteps ? task.attemptBase : begun.task.headEventId,
      leaseNumber: task.leaseNumber + 1,
      batchSeq: 0,
      run: { state: 'leased', token, expired: false },
    },
  };
}

/** The first attempt begins behind them: they are its boundary. */
function kept(task: Task, keys: readonly string[], rules: Rules): Decision {
  if (task.headEventId > 0 || task.run.state !== 'queued' || keys.length === 0) return unchanged(task);
  const steps = keys.map((key) => stepEvent(key, nextAttempt(task)));
  return withRoom(task, [newEvent('TASK_STARTED', {}), ...steps], rules);
}

/** Durable before anybody obeys it. A task that nobody runs ends at once; the first reason given stays. */
function requested(task: Task, reason: string): Decision {
  if (isOver(task.status) || task.cancellation) return unchanged(task);
  const marked = { ...task, cancellation: { reason } };
  return task.run.state === 'leased' ? unchanged(marked) : decided(marked, cancelled(marked));
}

/** An attempt ended without a result. After a request to cancel no new attempt begins. */
function spent(task: Task, rules: Rules, reason: string, last: NewEvent, retryAfterMs?: number): Decision {
  if (task.cancellation) return decided(task, cancelled(task));
  const counted = { ...task, spentAttempts: task.spentAttempts + 1 };
  if (counted.spentAttempts >= rules.maxAttempts) return decided(counted, last);
  if (!hasRoomFor(1, task, rules)) return decided(counted, last);
  const pauseMs = retryAfterMs ?? backoffMs(counted.spentAttempts, rules);
  return retried(counted, reason, rules.now + pauseMs);
}

/** The first pause, doubled with every spent attempt up to the longest, each ± 50 %. */
function backoffMs(spentAttempts: number, { backoff, jitter }: Rules): number {
  const longest = backoff.maxSeconds * 1_000;
  const middle = Math.min(backoff.firstSeconds * 1_000 * 2 ** (spentAttempts - 1), longest);
  return Math.min(Math.round(middle * (0.5 + jitter)), longest);
}

/** `from`: Unix milliseconds. */
function retried(task: Task, reason: string, from: number): Decision {
  const notBefore = new Date(from).toISOString();
  const event = newEvent('TASK_RETRYING', {
    attempt: task.attempt + 1,
    reason,
    supersedesAfterEventId: String(task.attemptBase),
    notBefore,
  });
  return { ...decided(task, event), notBefore };
}

/** Of a payload some of which came as text, and stays so. */
function withText<T extends EventType>(type: T, payload: Payload<T>): NewEvent<T> {
  return newEvent(type, payload, writeObject(payload));
}

/** One place is kept for the terminal event. */
function hasRoomFor(events: number, task: Task, rules: Rules): boolean {
  return task.headEventId + events < rules.maxEventsPerTask;
}

function full(): NewEvent {
  return failedByService('EVENT_LIMIT_EXCEEDED', 'The task has as many events as a task may have.', false);
}

function failedByService(code: FailureCode, message: string, retryable: boolean): NewEvent {
  return failed(code, message, retryable);
}

function failed(code: string, message: string, retryable: boolean): NewEvent {
  return newEvent('TASK_FAILED', { code, message, retryable });
}

/** The reason of the request comes before the reason of the worker that obeys. */
function cancelled(task: Task, message?: string, workersReason = 'cancelled_by_worker'): NewEvent {
  return newEvent('TASK_CANCELLED', { reason: task.cancellation?.reason ?? workersReason, message });
}

function holds(task: Task, token: string): void {
  if (task.run.state !== 'leased' || task.run.token !== token || task.run.expired) throw new LeaseLost();
}

function decided(task: Task, ...events: readonly NewEvent[]): Decision {
  return { events, task: events.reduce(evolve, task), notBefore: null };
}

function unchanged(task: Task): Decision {
  return { events: [], task, notBefore: null };
}
