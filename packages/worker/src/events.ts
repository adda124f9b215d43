import type { JsonObject } from './task-handler.js';

// What the service would refuse is refused here, one event at a time: there it would take the whole batch with it.

export interface WireEvent {
  readonly type: 'TASK_PROGRESS' | 'TASK_MESSAGE' | 'TASK_OUTPUT';
  readonly payload: JsonObject;
}

class EventInvalid extends Error {
  readonly code = 'REQUEST_VALIDATION_ERROR';
  constructor(path: string, problem: string) {
    super(`The event is not valid: ${path} ${problem}.`);
  }
}

/** @throws EventInvalid */
export function progressEvent(progress: unknown, stage?: unknown, message?: unknown): WireEvent {
  if (typeof progress !== 'number' || !(progress >= 0 && progress <= 100)) {
    throw new EventInvalid('progress', 'must be a number from 0 to 100');
  }
  const payload = { progress, stage: optionalText('stage', stage), message: optionalText('message', message) };
  return { type: 'TASK_PROGRESS', payload };
}

/** @throws EventInvalid */
export function messageEvent(message: unknown, level?: unknown): WireEvent {
  if (level !== undefined && !['info', 'warning', 'debug'].includes(level as string)) {
    throw new EventInvalid('level', 'must be info, warning or debug');
  }
  return { type: 'TASK_MESSAGE', payload: { message: text('message', message), level } };
}

/** @throws EventInvalid */
export function outputEvent(channel: unknown, op: unknown, data: unknown): WireEvent {
  if (op !== 'append' && op !== 'replace') throw new EventInvalid('op', 'must be append or replace');
  return { type: 'TASK_OUTPUT', payload: { channel: text('channel', channel), op, data: text('data', data) } };
}

/** The two as one, where they are adjacent appends to one channel. */
export function joined(a: WireEvent, b: WireEvent): WireEvent | undefined {
  const appends = a.payload['op'] === 'append' && b.payload['op'] === 'append';
  if (!appends || a.payload['channel'] !== b.payload['channel']) return undefined;
  const data = `${a.payload['data'] as string}${b.payload['data'] as string}`;
  return { type: 'TASK_OUTPUT', payload: { ...a.payload, data } };
}

function text(path: string, value: unknown): string {
  if (typeof value !== 'string') throw new EventInvalid(path, 'must be a string');
  return value;
}

function optionalText(path: string, value: unknown): string | undefined {
  return value === undefined ? undefined : text(path, value);
}
