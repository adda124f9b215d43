import { EVENT_ID, STEP_KEY, TASK_ID } from './ids.js';
import {
  anyJson,
  anyObject,
  boolean,
  constant,
  described,
  integer,
  type JsonSchema,
  list,
  type Members,
  number,
  object,
  type ObjectOf,
  oneOf,
  optional,
  type Problem,
  problemIn,
  text,
  timestamp,
} from './json-schema.js';

interface EventRow {
  /** For PROTOCOL.md. */
  readonly meaning: string;
  readonly payload: Members;
  /** A running attempt may append it. */
  readonly isAppendable?: true;
  /** Members that the service adds to what an attempt appends. */
  readonly added?: readonly string[];
  /** What an attempt appends, where that is more than a payload without `added`. */
  readonly appended?: Members;
  /** It ends its task: exactly one such event does, and it is the last. */
  readonly ends?: true;
}

/**
 * The types of events, in the order of a task's life. A client skips a type that it does not know. The members of a payload are stored in
 * this order.
 */
export const EVENTS = {
  TASK_STARTED: {
    meaning: 'the first attempt has begun',
    payload: { message: optional(text()) },
    isAppendable: true,
  },
  TASK_PROGRESS: {
    meaning: 'how far the task is, in percent',
    payload: { progress: number(0, 100), stage: optional(text()), message: optional(text()) },
    isAppendable: true,
  },
  TASK_MESSAGE: {
    meaning: 'for a person',
    payload: { message: text(), level: optional(oneOf('info', 'warning', 'debug')) },
    isAppendable: true,
  },
  TASK_OUTPUT: {
    meaning: 'streamed output, such as the tokens of a model',
    payload: {
      channel: text(),
      op: described('What `data` does to the text of its channel.', oneOf('append', 'replace')),
      data: text(),
      attempt: integer(1),
    },
    isAppendable: true,
    added: ['attempt'],
  },
  TASK_STEP: {
    meaning: 'a step is finished, or is tried again: [steps](#steps)',
    payload: {
      key: STEP_KEY,
      state: described(
        'With `completed` its result is stored, and nothing before it becomes void.',
        oneOf('completed', 'retrying'),
      ),
      attempt: integer(1),
      supersedesAfterEventId: optional(
        described('With `retrying`: output and progress after this event are void.', EVENT_ID),
      ),
    },
    isAppendable: true,
    added: ['attempt'],
    appended: { key: STEP_KEY, state: constant('retrying'), supersedesAfterEventId: EVENT_ID },
  },
  TASK_SUSPENDED: {
    meaning: 'the task asks: [actions](#answer-post-taskstaskidactions)',
    payload: {
      suspendId: text(),
      kind: oneOf('USER_ACTION_REQUIRED', 'EXTERNAL_CONFIRMATION_PENDING', 'SYSTEM_PAUSED'),
      reasonCode: text(),
      allowedActions: list(text(), { minItems: 1 }),
      schemaVersion: integer(1),
      actionSchemas: optional(described('By action: the JSON Schema that its `payload` has to fit.', anyObject())),
      expiresAt: optional(timestamp()),
      uiHints: optional(anyObject()),
      interaction: optional(anyObject()),
    },
  },
  TASK_ACTION_ACCEPTED: {
    meaning: 'it was answered and goes on',
    payload: { suspendId: text(), clientActionId: text(), actionType: text(), acceptedAt: timestamp() },
  },
  TASK_RESUMED: {
    meaning: 'the handler runs again with the answer, and puts out again what is void',
    payload: { supersedesAfterEventId: described('Output and progress after this event are void.', EVENT_ID) },
  },
  TASK_RETRYING: {
    meaning: 'the attempt before is lost or has failed',
    payload: {
      attempt: described('The attempt that is about to begin.', integer(1)),
      reason: text(),
      supersedesAfterEventId: described('Output and progress after this event are void.', EVENT_ID),
      notBefore: optional(described('When the attempt may begin, by the clock of the database.', timestamp())),
    },
  },
  TASK_COMPLETED: { meaning: 'the end', payload: { result: anyJson() }, ends: true },
  TASK_FAILED: { meaning: 'the end', payload: { code: text(), message: text(), retryable: boolean() }, ends: true },
  TASK_CANCELLED: { meaning: 'the end', payload: { reason: text(), message: optional(text()) }, ends: true },
} as const satisfies Readonly<Record<string, EventRow>>;

type Events = typeof EVENTS;
export type EventType = keyof Events;
export type EventPayload<T extends EventType> = ObjectOf<Events[T]['payload']>;

/** What a running attempt may append. */
export type AppendableType = { [T in EventType]: Events[T] extends { isAppendable: true } ? T : never }[EventType];
/** The members of a payload that an attempt gives. The service adds the others. */
export type GivenPayload<T extends AppendableType> = Events[T] extends { readonly appended: infer M extends Members }
  ? ObjectOf<M>
  : Omit<EventPayload<T>, Events[T] extends { readonly added: readonly (infer Name)[] } ? Name & string : never>;
/** What ends a task. */
export type TerminalType = { [T in EventType]: Events[T] extends { ends: true } ? T : never }[EventType];

/** An event on the wire. */
export type TaskEvent = {
  [T in EventType]: {
    readonly type: T;
    readonly taskId: string;
    readonly eventId: string;
    readonly createdAt: string;
    readonly payload: EventPayload<T>;
  };
}[EventType];

export const EVENT_TYPES = Object.keys(EVENTS) as readonly EventType[];
const rowOf = (type: EventType): EventRow => EVENTS[type];
export const APPENDABLE_TYPES = EVENT_TYPES.filter((type) => rowOf(type).isAppendable) as readonly AppendableType[];
export const SUSPENSION_KINDS = EVENTS.TASK_SUSPENDED.payload.kind.enum as readonly SuspensionKind[];
export type SuspensionKind = EventPayload<'TASK_SUSPENDED'>['kind'];

export function isEventType(type: string): type is EventType {
  return Object.hasOwn(EVENTS, type);
}

export function endsTask(type: string): type is TerminalType {
  return isEventType(type) && rowOf(type).ends === true;
}

const PAYLOADS = byType((type) => object(EVENTS[type].payload));
/** By type, the schema of a payload that an attempt appends. */
export const APPENDED_SCHEMAS = byType((type) => {
  const { payload, added = [], appended } = rowOf(type);
  return object(appended ?? Object.fromEntries(Object.entries(payload).filter(([name]) => !added.includes(name))));
});

/** By type, the schema of an event on the wire. */
export const EVENT_SCHEMAS: Readonly<Record<EventType, JsonSchema>> = byType((type) =>
  object({
    type: constant(type),
    taskId: TASK_ID,
    eventId: EVENT_ID,
    createdAt: described('The clock of the database, UTC, in milliseconds.', timestamp()),
    payload: PAYLOADS[type],
  }),
);

/** Whether it is a whole payload of this type. */
export function isPayload<T extends EventType>(type: T, payload: unknown): payload is EventPayload<T> {
  return problemIn(PAYLOADS[type], payload) === undefined;
}

/** What is wrong with a payload that an attempt appends. */
export function problemInAppended(type: AppendableType, payload: unknown): Problem | undefined {
  return problemIn(APPENDED_SCHEMAS[type], payload);
}

const NAMES = byType((type) => Object.keys(EVENTS[type].payload));

/** The members of a payload that is right, in their order. Absent ones are `undefined`. */
export function ordered<T extends EventType>(type: T, payload: EventPayload<T>): EventPayload<T> {
  const members: Record<string, unknown> = {};
  for (const name of NAMES[type]) members[name] = payload[name as keyof EventPayload<T>];
  return members as EventPayload<T>;
}

function byType<V>(value: (type: EventType) => V): Readonly<Record<EventType, V>> {
  return Object.fromEntries(EVENT_TYPES.map((type) => [type, value(type)])) as Record<EventType, V>;
}
