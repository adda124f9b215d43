import type { EventType } from '#protocol/events.js';
import { newEvent, type JsonObject, type NewEvent } from './task-event.js';
import { EventInvalid } from './tasks.errors.js';

// The events that a running attempt may append, made from what a handler or a worker gives; whatever does not fit the wire
// protocol is refused here, once for both.

const LEVELS: readonly unknown[] = ['info', 'warning', 'debug'];
const OPS: readonly unknown[] = ['append', 'replace'];

const MEMBERS = {
  TASK_STARTED: ['message'],
  TASK_PROGRESS: ['progress', 'stage', 'message'],
  TASK_MESSAGE: ['message', 'level'],
  TASK_OUTPUT: ['channel', 'op', 'data'],
} as const satisfies Partial<Record<EventType, readonly string[]>>;

/** The types that an attempt may append. */
export type AppendableType = keyof typeof MEMBERS;

/**
 * The event that a worker's payload makes, checked member by member.
 * @throws EventInvalid
 */
export function appendedEvent(type: AppendableType, payload: JsonObject, attempt: number): NewEvent {
  const members: readonly string[] = MEMBERS[type];
  const unknown = Object.keys(payload).find((name) => !members.includes(name));
  if (unknown !== undefined) throw new EventInvalid(unknown.slice(0, 64), 'is not a known member');
  switch (type) {
    case 'TASK_STARTED':
      return newEvent('TASK_STARTED', { message: optionalText('message', payload['message']) });
    case 'TASK_PROGRESS':
      return progressEvent(payload['progress'], payload['stage'], payload['message']);
    case 'TASK_MESSAGE':
      return messageEvent(payload['message'], payload['level']);
    case 'TASK_OUTPUT':
      return outputEvent(payload['channel'], payload['op'], payload['data'], attempt);
  }
}

/** @throws EventInvalid */
export function progressEvent(progress: unknown, stage?: unknown, message?: unknown): NewEvent {
  if (typeof progress !== 'number' || !(progress >= 0 && progress <= 100)) {
    throw new EventInvalid('progress', 'must be a number from 0 to 100');
  }
  return newEvent('TASK_PROGRESS', {
    progress,
    stage: optionalText('stage', stage),
    message: optionalText('message', message),
  });
}

/** @throws EventInvalid */
export function messageEvent(message: unknown, level?: unknown): NewEvent {
  if (level !== undefined && !LEVELS.includes(level)) throw new EventInvalid('level', 'must be info, warning or debug');
  return newEvent('TASK_MESSAGE', { message: text('message', message), level });
}

/** @throws EventInvalid */
export function outputEvent(channel: unknown, op: unknown, data: unknown, attempt: number): NewEvent {
  if (!OPS.includes(op)) throw new EventInvalid('op', 'must be append or replace');
  return newEvent('TASK_OUTPUT', { channel: text('channel', channel), op, data: text('data', data), attempt });
}

function text(path: string, value: unknown): string {
  if (typeof value !== 'string') throw new EventInvalid(path, 'must be a string');
  return value;
}

function optionalText(path: string, value: unknown): string | undefined {
  return value === undefined ? undefined : text(path, value);
}
