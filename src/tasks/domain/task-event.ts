import { storedJson } from '#protocol/exact-json.js';
import type { EventPayload, EventType } from '#protocol/events.js';
import type { WithText } from '../../json/json-text.js';

/** Members that are objects may be the text as which they came. */
export type Payload<T extends EventType> = WithText<EventPayload<T>>;

/** An event that is decided but not yet stored: it has no id and no time. */
export type NewEvent<T extends EventType = EventType> = {
  [E in T]: {
    readonly type: E;
    readonly payload: Payload<E>;
    /** The payload's text. Serialised here, once: every reader frames these very bytes. */
    readonly json: string;
    /** Given by the attempt that appends it, instead of a number of its batch. */
    readonly key?: string;
  };
}[T];

/** Absent optional members are absent, never null: `undefined` ones do not reach the text. */
export function newEvent<T extends EventType>(
  type: T,
  payload: Payload<T>,
  json: string = storedJson(payload),
): NewEvent<T> {
  return { type, payload, json } as NewEvent<T>;
}
