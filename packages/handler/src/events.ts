import { type AppendableType, type EventPayload, problemInAppended } from '#protocol/events.js';
import type { JsonObject, Problem } from '#protocol/json-schema.js';
import type { HalfCharacters } from './half-characters.js';
import { Refused } from './holder-errors.js';
import { textFault } from './storable-text.js';

// Refuses what the service would refuse, one event at a time. The service would refuse the whole batch.

export interface HandlerEvent {
  readonly type: Exclude<AppendableType, 'TASK_STARTED'>;
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
  return sized('TASK_PROGRESS', { progress, stage, message });
}

/** @throws Refused */
export function messageEvent(message: unknown, level?: unknown): SizedEvent {
  return sized('TASK_MESSAGE', { message, level });
}

/** @returns undefined when the whole text waits for the other half of a character. @throws Refused */
export function outputEvent(
  given: { readonly channel: unknown; readonly op: unknown; readonly data: unknown; readonly attempt: number },
  halves: HalfCharacters,
): SizedEvent | undefined {
  const { attempt, ...members } = given;
  refuse(problemInAppended('TASK_OUTPUT', members));
  const { channel, op, data: part } = members as EventPayload<'TASK_OUTPUT'>;
  refuse(textProblem({ channel }));
  const data = halves.complete(channel, op, part);
  if (data === undefined) return undefined;
  refuse(textProblem({ data }));
  const dataBytes = bytesOf(data) - 2;
  // The service stores the attempt with it.
  const bytes = bytesOf({ channel, op, data: '', attempt }) + dataBytes;
  const append = op === 'append' && { append: { channel, data, bytes: dataBytes } };
  return { type: 'TASK_OUTPUT', payload: { channel, op, data }, bytes, ...append };
}

function sized(type: HandlerEvent['type'], payload: JsonObject): SizedEvent {
  refuse(problemInAppended(type, payload) ?? textProblem(payload));
  return { type, payload, bytes: bytesOf(payload) };
}

function refuse(wrong: Problem | undefined): void {
  if (wrong) throw eventInvalid(wrong.path, wrong.problem);
}

/** The first member whose text cannot be stored. */
function textProblem(payload: JsonObject): Problem | undefined {
  for (const [path, value] of Object.entries(payload)) {
    const problem = typeof value === 'string' ? textFault(value) : undefined;
    if (problem !== undefined) return { path, problem };
  }
  return undefined;
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
