/** Event types of the wire protocol. A client skips a type that it does not know. */
export const EVENT_TYPES = [
  'TASK_STARTED',
  'TASK_PROGRESS',
  'TASK_MESSAGE',
  'TASK_OUTPUT',
  'TASK_SUSPENDED',
  'TASK_ACTION_ACCEPTED',
  'TASK_RETRYING',
  'TASK_COMPLETED',
  'TASK_FAILED',
  'TASK_CANCELLED',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

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

const TERMINAL: ReadonlySet<string> = new Set<EventType>(['TASK_COMPLETED', 'TASK_FAILED', 'TASK_CANCELLED']);

/** Exactly one such event ends a task, and it is the last. */
export function endsTask(type: string): boolean {
  return TERMINAL.has(type);
}
