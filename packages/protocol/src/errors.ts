import type { CloseName } from './close-codes.js';

interface KindRow {
  readonly status: number;
  /** How a WebSocket ends. */
  readonly close: CloseName;
}

/** What sort of refusal an error is decides the HTTP status and the close code. What time may heal closes as `overloaded`. */
export const ERROR_KINDS = {
  invalid: { status: 400, close: 'badFrame' },
  unauthenticated: { status: 401, close: 'notAuthenticated' },
  forbidden: { status: 403, close: 'refused' },
  absent: { status: 404, close: 'noSuchTask' },
  method_not_allowed: { status: 405, close: 'overloaded' },
  not_acceptable: { status: 406, close: 'overloaded' },
  conflict: { status: 409, close: 'cursorAhead' },
  gone: { status: 410, close: 'badFrame' },
  too_large: { status: 413, close: 'overloaded' },
  unsupported: { status: 415, close: 'overloaded' },
  unsatisfiable: { status: 416, close: 'overloaded' },
  unprocessable: { status: 422, close: 'badFrame' },
  upgrade_required: { status: 426, close: 'overloaded' },
  too_many: { status: 429, close: 'overloaded' },
  fault: { status: 500, close: 'overloaded' },
  unavailable: { status: 503, close: 'overloaded' },
} as const satisfies Readonly<Record<string, KindRow>>;

export type ErrorKind = keyof typeof ERROR_KINDS;

interface ErrorRow {
  readonly kind: ErrorKind;
  /** For PROTOCOL.md. */
  readonly meaning: string;
}

/** The codes of refusals, in the order of their statuses. `code` is for programs, a message is for people and may change. */
export const ERRORS = {
  INVALID_REQUEST: {
    kind: 'invalid',
    meaning:
      'malformed JSON, headers or parameters; `details.errors` where members can be named. Also with 408, 414, 416, 426 and 431, and 501 and 505 of the proxy',
  },
  INVALID_CURSOR: { kind: 'invalid', meaning: 'a cursor that no event id looks like, or that no list gave out' },
  UPLOAD_VALIDATION_ERROR: {
    kind: 'invalid',
    meaning: 'the form is malformed, a file is not what it is said to be or has no name, or there are too many',
  },
  AUTHENTICATION_ERROR: { kind: 'unauthenticated', meaning: 'the service does not know who is calling' },
  ACCESS_DENIED: { kind: 'forbidden', meaning: "a scope is missing, or the page's origin is not allowed" },
  TASK_OWNERSHIP_ERROR: { kind: 'forbidden', meaning: 'this principal may not create such a task' },
  UPLOAD_FORBIDDEN: {
    kind: 'forbidden',
    meaning: 'this principal may not attach files, or its quota is used up',
  },
  TASK_NOT_FOUND: { kind: 'absent', meaning: 'no such task for this principal' },
  NOT_FOUND: { kind: 'absent', meaning: 'nothing at this address, no such question or file' },
  METHOD_NOT_ALLOWED: { kind: 'method_not_allowed', meaning: '`Allow` has those that are' },
  NOT_ACCEPTABLE: { kind: 'not_acceptable', meaning: '`Accept` admits no type that the route answers with' },
  IDEMPOTENCY_CONFLICT: {
    kind: 'conflict',
    meaning: 'the `clientRequestId` or `clientActionId` was used with other content',
  },
  TASK_ALREADY_TERMINAL: { kind: 'conflict', meaning: 'see [answer](#answer-post-taskstaskidactions)' },
  TASK_NOT_TERMINAL: { kind: 'conflict', meaning: 'see [run again](#run-again-post-taskstaskidretry)' },
  ACTION_NOT_ALLOWED: { kind: 'conflict', meaning: 'see [answer](#answer-post-taskstaskidactions)' },
  TASK_ASIDE: {
    kind: 'conflict',
    meaning: 'the task waits for an operator of the service; its snapshot says `aside`',
  },
  CURSOR_AHEAD: {
    kind: 'conflict',
    meaning: 'the cursor is greater than `details.headEventId`: it belongs to another task, or another installation',
  },
  CURSOR_EXPIRED: {
    kind: 'gone',
    meaning:
      'what changed after the cursor of a [feed](#changes-get-taskschanges) is not known any more: list the tasks again',
  },
  PAYLOAD_TOO_LARGE: { kind: 'too_large', meaning: 'see [limits](#limits)' },
  UNSUPPORTED_MEDIA_TYPE: {
    kind: 'unsupported',
    meaning: 'not JSON in UTF-8, or compressed, or files where they are not taken',
  },
  REQUEST_VALIDATION_ERROR: {
    kind: 'unprocessable',
    meaning: '`details.errors`: `[{"path":"input.name","message":"…"}]`, at most 100, and at most 20 unknown members',
  },
  TOO_MANY_REQUESTS: {
    kind: 'too_many',
    meaning: 'with `Retry-After`: too many open streams, or tasks that are not over, of this principal',
  },
  SERVICE_UNAVAILABLE: {
    kind: 'unavailable',
    meaning:
      'with `Retry-After`: PostgreSQL does not answer, too much is waiting, the service drains, or a part of the host failed or took over 10 s. The attachment store does not answer or has no room. What was asked may have been done: repeat it with the same identifiers',
  },
  INTERNAL_ERROR: { kind: 'fault', meaning: 'a fault of the service; the correlation id leads to it' },
} as const satisfies Readonly<Record<string, ErrorRow>>;

/** Codes of an ERROR frame about a subscription. They never become an HTTP answer or a close. */
const FRAME_ERRORS = {
  ALREADY_SUBSCRIBED: { kind: 'conflict' },
  NOT_SUBSCRIBED: { kind: 'conflict' },
} as const satisfies Readonly<Record<string, Pick<ErrorRow, 'kind'>>>;

/** Codes that only workers get. docs/workers.md says when. */
const WORKER_ERRORS = {
  LEASE_LOST: { kind: 'conflict' },
  BATCH_OUT_OF_ORDER: { kind: 'conflict' },
  INVALID_TASK_STATE: { kind: 'conflict' },
} as const satisfies Readonly<Record<string, Pick<ErrorRow, 'kind'>>>;

const ALL_ERRORS = { ...ERRORS, ...FRAME_ERRORS, ...WORKER_ERRORS };

export type ErrorCode = keyof typeof ALL_ERRORS;
export type KindOf<C extends ErrorCode> = (typeof ALL_ERRORS)[C]['kind'];

export function kindOf<C extends ErrorCode>(code: C): KindOf<C> {
  return ALL_ERRORS[code].kind;
}

/** Codes of TASK_FAILED that the service gives. All others are those of the author of the handler. */
export const FAILURES = {
  HANDLER_ERROR: 'The handler threw an error that clients may not see.',
  STALLED: 'Every attempt was lost.',
  TIMED_OUT: 'The last attempt took longer than `startToFinishSeconds` of its type.',
  EXPIRED: 'The task did not begin, or did not end, before its deadline.',
  SUSPENSION_EXPIRED: 'Nobody answered the question in time.',
  RESULT_TOO_LARGE: 'The result exceeds its [limit](#limits).',
  INPUT_INVALID: 'The input is not as the schema of its handler says.',
  RESULT_INVALID: 'The handler was done, and its result is not as the schema of the handler says.',
  RESULT_NOT_STORABLE:
    'The handler was done, and its result cannot be stored, or is not as the schema of its type says.',
  EVENT_REFUSED: 'The handler made an event that cannot be stored.',
  ATTACHMENT_REFUSED: 'The handler attached a file that was refused.',
  STEP_OVERLAP: 'The handler put something out while a step was open that it did not belong to.',
  STEP_REPEATED: 'The handler ran two steps under one key.',
  QUESTION_REPEATED: 'The handler asked two questions under one key.',
  EVENT_LIMIT_EXCEEDED: 'The task has as many events as a task may have.',
  NOT_REPAIRABLE: 'What was stored of the task did not allow it to continue.',
} as const satisfies Readonly<Record<string, string>>;

export type FailureCode = keyof typeof FAILURES;
