import {
  type AppendableType,
  type EventPayload,
  type GivenPayload,
  ordered,
  problemInAppended,
} from '#protocol/events.js';
import type { JsonObject } from '#protocol/json-schema.js';
import { newEvent, type NewEvent } from './task-event.js';
import { EventInvalid } from './tasks.errors.js';

// The events that a running attempt may append, made from what a handler or a worker gives. What the table of events does not allow is
// refused here, once for both.

/**
 * The event that an attempt's payload makes, checked member by member.
 * @throws EventInvalid
 */
export function appendedEvent<T extends AppendableType>(type: T, given: JsonObject, attempt: number): NewEvent<T> {
  const wrong = problemInAppended(type, given);
  if (wrong) throw new EventInvalid(wrong.path, wrong.problem);
  return newEvent(type, ordered(type, { ...given, attempt } as unknown as EventPayload<T>));
}

/** Only the service makes it, in the transaction that stores the result of the step. */
export function stepEvent(key: string, attempt: number): NewEvent<'TASK_STEP'> {
  return newEvent('TASK_STEP', { key, state: 'completed', attempt });
}

/** @throws EventInvalid */
export function messageEvent(message: unknown, level?: unknown): NewEvent<'TASK_MESSAGE'> {
  const given: Record<keyof GivenPayload<'TASK_MESSAGE'>, unknown> = { message, level };
  return appendedEvent('TASK_MESSAGE', given, 0);
}
