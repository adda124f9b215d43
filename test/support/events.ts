import { appendedEvent } from '../../src/tasks/domain/event-payloads.js';
import type { NewEvent } from '../../src/tasks/domain/task-event.js';

// Events as an attempt appends them, of members that may be wrong.

/** @throws EventInvalid */
export function progressEvent(progress: unknown, stage?: unknown, message?: unknown): NewEvent<'TASK_PROGRESS'> {
  return appendedEvent('TASK_PROGRESS', { progress, stage, message }, 0);
}

/** @throws EventInvalid */
export function outputEvent(channel: unknown, op: unknown, data: unknown, attempt: number): NewEvent<'TASK_OUTPUT'> {
  return appendedEvent('TASK_OUTPUT', { channel, op, data }, attempt);
}
