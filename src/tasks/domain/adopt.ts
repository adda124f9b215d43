import {
  APPENDABLE_TYPES,
  endsTask,
  type EventPayload,
  type EventType,
  isEventType,
  isPayload,
} from '#protocol/events.js';
import type { JsonObject } from '#protocol/json-schema.js';
import { nextAttempt } from './decide.js';
import { evolve } from './evolve.js';
import { isOver, type Task } from './task.js';
import type { NewEvent } from './task-event.js';

// A task made anew from its log alone. Of a lease a log says only that an attempt had begun: its holder holds it no more.

/** An event in the log, of any origin. */
export interface FoundEvent {
  readonly type: string;
  readonly payload: unknown;
  readonly attempt: number | null;
  readonly leaseNumber: number | null;
  /** Of an accepted action: whether its answer and its receipt are stored, too. Of a finished step: its result. */
  readonly hasReceipt: boolean;
}

/** Only an attempt says these. */
const OF_ATTEMPT: ReadonlySet<string> = new Set(APPENDABLE_TYPES);

const LOST_LEASE: Task['run'] = { state: 'leased', token: '', expired: true };

/** What an event makes of a task that the service had decided: it is not judged again. */
export function replayed(task: Task, event: FoundEvent): Task {
  const { type } = event;
  const payload = isObject(event.payload) ? event.payload : {};
  // Nobody judges the payload here: it counts as it is, also where the table would not allow it.
  const after = isEventType(type)
    ? evolve(task, { type, payload } as unknown as NewEvent)
    : { ...task, headEventId: task.headEventId + 1 };
  const beginsAttempt = type === 'TASK_STARTED' || type === 'TASK_RETRYING';
  return {
    ...after,
    attempt: Math.max(task.attempt, event.attempt ?? 0),
    leaseNumber: Math.max(task.leaseNumber, event.leaseNumber ?? 0),
    attemptBase: beginsAttempt && !after.hasSteps ? after.headEventId : after.attemptBase,
    spentAttempts: task.spentAttempts + (type === 'TASK_RETRYING' && payload['reason'] !== 'released' ? 1 : 0),
    run: OF_ATTEMPT.has(type) ? LOST_LEASE : after.run,
  };
}

/**
 * What an event makes of a task, if the domain could have decided it there; undefined when not. An end counts whatever its payload is:
 * readers took it for the end.
 */
export function adopted(task: Task, event: FoundEvent): Task | undefined {
  if (isOver(task.status) || !isEventType(event.type)) return undefined;
  if (endsTask(event.type)) return replayed(task, event);
  const isOfOwner = event.type === 'TASK_ACTION_ACCEPTED' || event.type === 'TASK_RESUMED';
  const before = isOfOwner ? task : begun(task, event.type);
  return before && isLegal(before, event) ? replayed(before, event) : undefined;
}

/** The claim before what only an attempt can say: all but the first leave no event. */
export function claimedUnseen(task: Task): Task {
  const attempt = nextAttempt(task);
  return { ...task, attempt, leaseNumber: task.leaseNumber + 1, run: LOST_LEASE };
}

function begun(task: Task, type: EventType): Task | undefined {
  if ((type === 'TASK_STARTED') !== (task.headEventId === 0)) return undefined;
  if (task.run.state === 'queued') return claimedUnseen(task);
  return task.run.state === 'leased' ? task : undefined;
}

function isLegal(task: Task, { type, payload, attempt, leaseNumber, hasReceipt }: FoundEvent): boolean {
  if (!isObject(payload)) return false;
  if ((attempt ?? task.attempt) !== task.attempt || (leaseNumber ?? task.leaseNumber) !== task.leaseNumber)
    return false;
  switch (type as EventType) {
    case 'TASK_STARTED':
    case 'TASK_PROGRESS':
    case 'TASK_MESSAGE':
      return isPayload(type as EventType, payload);
    case 'TASK_OUTPUT':
      return isPayload('TASK_OUTPUT', payload) && payload.attempt === task.attempt;
    case 'TASK_STEP':
      return isPayload('TASK_STEP', payload) && isStepOf(task, payload, hasReceipt);
    case 'TASK_SUSPENDED':
      return isPayload('TASK_SUSPENDED', payload);
    case 'TASK_ACTION_ACCEPTED':
      return task.run.state === 'suspended' && payload['suspendId'] === task.run.suspendId && hasReceipt;
    case 'TASK_RESUMED':
      return isPayload('TASK_RESUMED', payload) && isResumeOf(task, payload);
    case 'TASK_RETRYING':
      return isPayload('TASK_RETRYING', payload) && isRetryOf(task, payload);
    default:
      return false;
  }
}

function isStepOf(
  { attempt, attemptBase, headEventId }: Task,
  step: EventPayload<'TASK_STEP'>,
  hasReceipt: boolean,
): boolean {
  const since = Number(step.supersedesAfterEventId);
  const isLegal = step.state === 'completed' ? hasReceipt : since >= attemptBase && since <= headEventId;
  return isLegal && step.attempt === attempt;
}

function isResumeOf({ run, attemptBase }: Task, { supersedesAfterEventId }: EventPayload<'TASK_RESUMED'>): boolean {
  return run.state === 'queued' && run.resumes && supersedesAfterEventId === String(attemptBase);
}

function isRetryOf(task: Task, { attempt, supersedesAfterEventId }: EventPayload<'TASK_RETRYING'>): boolean {
  return attempt === task.attempt + 1 && supersedesAfterEventId === String(task.attemptBase);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
