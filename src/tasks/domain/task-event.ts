import type { EventType } from '#protocol/events.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** An event that is decided but not yet stored: it has no id and no time. */
export interface NewEvent {
  readonly type: EventType;
  readonly payload: JsonObject;
  /** The payload's text. Serialised here, once: every reader frames these very bytes. */
  readonly json: string;
}

/** Absent optional members are absent, never null: `undefined` ones do not reach the text. */
export function newEvent(type: EventType, payload: JsonObject, json = JSON.stringify(payload)): NewEvent {
  return { type, payload, json };
}
