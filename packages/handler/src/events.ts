import type { HalfCharacters } from './half-characters.js';
import { Refused } from './holder-errors.js';
import { textFault } from './storable-text.js';
import type { JsonObject } from './task-handler.js';

// Refuses what the service would refuse, one event at a time. The service would refuse the whole batch.

export interface HandlerEvent {
  readonly type: 'TASK_PROGRESS' | 'TASK_MESSAGE' | 'TASK_OUTPUT';
  readonly payload: JsonObject;
}

/** An event and its size. */
export interface SizedEvent extends HandlerEvent {
  /** Bytes of the payload as it is stored. */
  readonly bytes: number;
  /** For an append: its channel, and the bytes that it adds to an earlier append to the same channel. */
  readonly append?: { readonly channel: string; readonly data: string; readonly bytes: number };
}

/** @throws Refused */
export function progressEvent(progress: unknown, stage?: unknown, message?: unknown): SizedEvent {
  if (typeof progress !== 'number' || !(progress >= 0 && progress <= 100)) {
    throw eventInvalid('progress', 'must be a number from 0 to 100');
  }
  const payload = { progress, stage: optionalText('stage', stage), message: optionalText('message', message) };
  return { type: 'TASK_PROGRESS', payload, bytes: bytesOf(payload) };
}

/** @throws Refused */
export function messageEvent(message: unknown, level?: unknown): SizedEvent {
  if (level !== undefined && !['info', 'warning', 'debug'].includes(level as string)) {
    throw eventInvalid('level', 'must be info, warning or debug');
  }
  const payload = { message: text('message', message), level };
  return { type: 'TASK_MESSAGE', payload, bytes: bytesOf(payload) };
}

/** @returns undefined when the whole text waits for the other half of a character. @throws Refused */
export function outputEvent(
  given: { readonly channel: unknown; readonly op: unknown; readonly data: unknown; readonly attempt: number },
  halves: HalfCharacters,
): SizedEvent | undefined {
  const { op, attempt } = given;
  if (op !== 'append' && op !== 'replace') throw eventInvalid('op', 'must be append or replace');
  const channel = text('channel', given.channel);
  if (typeof given.data !== 'string') throw eventInvalid('data', 'must be a string');
  const data = halves.complete(channel, op, given.data);
  if (data === undefined) return undefined;
  text('data', data);
  const dataBytes = bytesOf(data) - 2;
  // The service stores the attempt with it.
  const bytes = bytesOf({ channel, op, data: '', attempt }) + dataBytes;
  const append = op === 'append' && { append: { channel, data, bytes: dataBytes } };
  return { type: 'TASK_OUTPUT', payload: { channel, op, data }, bytes, ...append };
}

export function eventInvalid(path: string, problem: string): Refused {
  return new Refused('REQUEST_VALIDATION_ERROR', `The event is not valid: ${path} ${problem}.`);
}

export function eventTooLarge(maxBytes: number): Refused {
  return new Refused('PAYLOAD_TOO_LARGE', `An event payload may have at most ${maxBytes} bytes.`);
}

export function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

function text(path: string, value: unknown): string {
  if (typeof value !== 'string') throw eventInvalid(path, 'must be a string');
  const fault = textFault(value);
  if (fault !== undefined) throw eventInvalid(path, fault);
  return value;
}

function optionalText(path: string, value: unknown): string | undefined {
  return value === undefined ? undefined : text(path, value);
}
