import { storedJson } from '#protocol/exact-json.js';
import { type AppendableType, type GivenPayload, problemInAppended } from '#protocol/events.js';
import type { HalfCharacters } from './half-characters.js';
import { Refused } from './holder-errors.js';
import { textFault } from './storable-text.js';
import type { JsonObject, ProgressDetails } from './task-handler.js';

// Refuses what the service would refuse, one event at a time. The service would refuse the whole batch.

type HandlerEventType = Exclude<AppendableType, 'TASK_STARTED'>;

/** All members, of any type: a handler in JavaScript may give anything. A member that is forgotten here does not compile. */
type Given<T extends HandlerEventType> = Readonly<Record<keyof GivenPayload<T>, unknown>>;

export interface HandlerEvent {
  readonly type: HandlerEventType;
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
export function progressEvent(progress: unknown, details: ProgressDetails): SizedEvent {
  return checkedEvent('TASK_PROGRESS', { ...details, progress });
}

/** @throws Refused */
export function messageEvent(message: unknown, level?: unknown): SizedEvent {
  const given: Given<'TASK_MESSAGE'> = { message, level };
  return checkedEvent('TASK_MESSAGE', given);
}

/**
 * @returns undefined when the data is the first half of a character, which waits for the other half
 * @throws Refused
 */
export function outputEvent(
  given: Given<'TASK_OUTPUT'>,
  attempt: number,
  halves: HalfCharacters,
): SizedEvent | undefined {
  checkMembers('TASK_OUTPUT', given);
  const { channel, op, data: cut } = given as GivenPayload<'TASK_OUTPUT'>;
  const data = halves.complete(channel, op, cut);
  if (data === undefined) return undefined;
  const payload: Given<'TASK_OUTPUT'> = { channel, op, data };
  checkTexts(payload);
  const dataBytes = bytesOf(data) - 2;
  // The service stores the attempt with it.
  const bytes = bytesOf({ channel, op, data: '', attempt }) + dataBytes;
  const append = op === 'append' && { append: { channel, data, bytes: dataBytes } };
  return { type: 'TASK_OUTPUT', payload, bytes, ...append };
}

/** A new try of a step. What is after the event `since` is void. */
export function stepRetryingEvent(key: string, since: number, attempt: number): SizedEvent {
  const payload: Given<'TASK_STEP'> = { key, state: 'retrying', supersedesAfterEventId: String(since) };
  // The service stores the attempt with it.
  return { type: 'TASK_STEP', payload, bytes: bytesOf({ ...payload, attempt }) };
}

export function eventInvalid(path: string, problem: string): Refused {
  return new Refused('REQUEST_VALIDATION_ERROR', `The event is not valid: ${path} ${problem}.`);
}

/** A wrong parameter of a call. `what`: the name of the call, as it stands in the text. */
export function argumentInvalid(what: string, name: string, problem: string): Refused {
  return new Refused('REQUEST_VALIDATION_ERROR', `The ${what} is not valid: ${name} ${problem}.`);
}

export function eventTooLarge(maxBytes: number): Refused {
  return new Refused('PAYLOAD_TOO_LARGE', `An event payload may have at most ${maxBytes} bytes.`);
}

/** The bytes of the JSON that the service stores. */
export function bytesOf(value: object | string): number {
  return Buffer.byteLength(storedJson(value));
}

function checkedEvent(type: HandlerEventType, payload: JsonObject): SizedEvent {
  checkMembers(type, payload);
  checkTexts(payload);
  return { type, payload, bytes: bytesOf(payload) };
}

function checkMembers(type: HandlerEventType, payload: JsonObject): void {
  const wrong = problemInAppended(type, payload);
  if (wrong) throw eventInvalid(wrong.path, wrong.problem);
}

function checkTexts(payload: JsonObject): void {
  for (const [name, member] of Object.entries(payload)) {
    const fault = typeof member === 'string' ? textFault(member) : undefined;
    if (fault !== undefined) throw eventInvalid(name, fault);
  }
}
