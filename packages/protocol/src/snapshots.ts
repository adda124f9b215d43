import { EVENT_SCHEMAS, EVENT_TYPES, EVENTS, type TaskEvent } from './events.js';
import { FEATURE_NAMES } from './features.js';
import { FOLLOW_TOKEN } from './follow-tokens.js';
import { CLIENT_ACTION_ID, CLIENT_REQUEST_ID, EVENT_ID, HEAD_EVENT_ID, STEP_KEY, TASK_TYPE, TASK_UUID } from './ids.js';
import {
  anyJson,
  anyObject,
  boolean,
  constant,
  described,
  integer,
  type JsonSchema,
  discriminated,
  list,
  named,
  nullable,
  number,
  object,
  type ObjectOf,
  oneOf,
  optional,
  record,
  type Shape,
  text,
  timestamp,
  type TypeOf,
} from './json-schema.js';
import { MAX_CHANGES_CURSOR_LENGTH, MAX_SHOWN_QUESTIONS, MAX_SHOWN_RERUNS } from './limits.js';

import { BULK } from './bulk.js';
import {
  ME,
  QUESTION_ASKED,
  QUESTIONS_ASKED,
  STREAM_END,
  STUCK_TASK,
  STUCK_TASKS,
  SYSTEM_LOG,
  SYSTEM_NUMBERS,
  SYSTEM_READINESS,
  SYSTEM_REPLICA,
  SYSTEM_REPLICAS,
  SYSTEM_RETENTION,
  SYSTEM_SETTING,
  SYSTEM_SETTINGS,
  SYSTEM_STREAM,
  SYSTEM_STREAMS,
  SYSTEM_WORKER,
  SYSTEM_WORKERS,
  TASK_COUNTS,
  TASK_TYPE_ENTRY,
  TASK_TYPES,
} from './operators.js';
import { type Schedule, SCHEDULE } from './schedules.js';
import { TASK_POLICY, type TaskPolicy } from './policies.js';

// What the HTTP routes answer. A schema with a name is one of OpenAPI's components, and others refer to it.

export const TASK_STATUSES = ['ACCEPTED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED'] as const;
export type TaskStatus = (typeof TASK_STATUSES)[number];
const STATUS = oneOf(...TASK_STATUSES);

/** What a task waits for before it can go on. Later versions add further ones. */
export const WAITING_FOR = [
  'answer',
  'capacity',
  'concurrency',
  'engine',
  'operator',
  'paused',
  'rate',
  'retry',
  'start_time',
  'worker',
] as const;
export type WaitingFor = (typeof WAITING_FOR)[number];

export const ACTION_STATUSES = ['ACCEPTED', 'DEDUPLICATED', 'REJECTED_ALREADY_RESOLVED', 'REJECTED_EXPIRED'] as const;
export type ActionStatus = (typeof ACTION_STATUSES)[number];

const ATTACHMENT_MEMBERS = {
  attachmentId: TASK_UUID,
  filename: described('A base name.', text()),
  contentType: text(),
  sizeBytes: integer(0),
  sha256: described('Of the bytes, in lower-case hex.', text({ pattern: '^[0-9a-f]{64}$' })),
  source: optional(
    described('`worker`: the executor of the task attached it. Absent: the create had it.', oneOf('worker')),
  ),
};
const ATTACHMENT = object(ATTACHMENT_MEMBERS);
export type Attachment = TypeOf<typeof ATTACHMENT>;

const QUESTION = object(EVENTS.TASK_SUSPENDED.payload);
const FAILURE = object(EVENTS.TASK_FAILED.payload);
const ASIDE = object({ code: described('Such as EVENT_ABOVE_HEAD, STATE_INVALID, NOT_WRITABLE.', text()) });

const STATE_MEMBERS = {
  taskId: TASK_UUID,
  clientRequestId: CLIENT_REQUEST_ID,
  taskType: TASK_TYPE,
  status: STATUS,
  ownerId: optional(described('The principal that it belongs to, for callers with `tasks:admin`.', text())),
  tenantId: optional(described('The same of its tenant. Absent without one.', text())),
  metadata: anyObject(),
  attempt: described('Attempts that were begun.', integer(0)),
  attemptsLeft: described(
    'Attempts that may still fail or be lost before the task fails, the present one included. 0 when the task is over.',
    integer(0),
  ),
  cancellationRequested: boolean(),
  aside: optional(
    described(
      'While the task waits for an operator, because its stored state does not allow it to go on.',
      named<TypeOf<typeof ASIDE>>('TaskAside'),
    ),
  ),
  waitingFor: optional(
    described(
      'What the task waits for, as it is now; further values may come. Absent when it does not wait.',
      text({ examples: [...WAITING_FOR] }),
    ),
  ),
  rerunOf: optional(described('The task that this one runs again. It may be gone.', TASK_UUID)),
  progress: optional(described('Of the last TASK_PROGRESS; 100 with COMPLETED.', number(0, 100))),
  openSuspension: optional(described('While the question is open.', named<TypeOf<typeof QUESTION>>('TaskQuestion'))),
  failure: optional(described('Of TASK_FAILED.', named<TypeOf<typeof FAILURE>>('TaskFailure'))),
  headEventId: HEAD_EVENT_ID,
  createdAt: timestamp(),
  updatedAt: timestamp(),
  startedAt: optional(timestamp()),
  finishedAt: optional(timestamp()),
};
const LEFT_OUT = 'Absent where the task would be larger than a frame.';
const FITTING_METADATA = { metadata: optional(described(LEFT_OUT, anyObject())) };
/** The members of a task that an answer of HTTP refers to by a name. A frame has them in it. */
const FRAMED = {
  ...FITTING_METADATA,
  aside: optional(ASIDE),
  openSuspension: optional(QUESTION),
  failure: optional(FAILURE),
};
const CHANGED_TASK = object({ ...STATE_MEMBERS, ...FITTING_METADATA });
/** A task in a feed of changes. */
export type ChangedTask = TypeOf<typeof CHANGED_TASK>;
export const TASK_CHANGE = {
  cursor: described('Behind this change.', text({ maxLength: MAX_CHANGES_CURSOR_LENGTH })),
  task: optional(described('The task as it is now.', named<ChangedTask>('ChangedTask'))),
  taskId: optional(described('Instead of `task`.', TASK_UUID)),
  removed: optional(described('The task does not exist any more.', constant(true))),
  left: optional(described('The task does not match the filter. The client may not know it.', constant(true))),
};

export const CHANGE_FRAME_MEMBERS = {
  ...TASK_CHANGE,
  task: optional(described('The task as it is now.', object({ ...STATE_MEMBERS, ...FRAMED }))),
};

const SUMMARY_MEMBERS = {
  ...STATE_MEMBERS,
  attachments: described(
    'Those of the create in its order, then those of the executor.',
    list(named<Attachment>('Attachment')),
  ),
  result: optional(described('Of TASK_COMPLETED: any JSON.', anyJson())),
};
const SUMMARY = object(SUMMARY_MEMBERS);

const ASKED = object({
  suspendId: text(),
  state: described(
    '`expired`: nobody answered in time. `closed`: the task ended before. Further values may come.',
    text({ examples: ['open', 'answered', 'expired', 'closed'] }),
  ),
  answeredBy: optional(described('The principal who answered.', text())),
  answeredAt: optional(timestamp()),
  clientActionId: optional(described('Of the answer.', CLIENT_ACTION_ID)),
});
export type AskedQuestion = TypeOf<typeof ASKED>;

const SHOWN_CHANNEL = object({
  data: described('The text as of `headEventId`.', text()),
  settled: described('The text as of `settledEventId`. No later event voids it.', text()),
  truncated: described('Whether the beginning of a text is missing.', boolean()),
});
export type ShownChannel = TypeOf<typeof SHOWN_CHANNEL>;

/** What a snapshot has with `include=output`. */
export const OUTPUT_MEMBERS = {
  output: described('What counts, by channel. Absent channels have no text that counts.', record(SHOWN_CHANNEL)),
  settledEventId: described(
    'The boundary: the last finished step, without any the head when the attempt began. Later events void what is after it, at most.',
    HEAD_EVENT_ID,
  ),
  outputAfterEventId: described('`output` is made of the events after this one; 0: of all.', HEAD_EVENT_ID),
};
export type ShownOutput = ObjectOf<typeof OUTPUT_MEMBERS>;

const SNAPSHOT = object({
  ...SUMMARY_MEMBERS,
  input: anyObject(),
  questions: optional(
    described(
      `The questions of the task: the newest ${MAX_SHOWN_QUESTIONS}, oldest first. Absent without any.`,
      list(named<AskedQuestion>('AskedQuestion')),
    ),
  ),
  reruns: optional(
    described(`Tasks that run this one again, the newest ${MAX_SHOWN_RERUNS} of them, newest first.`, list(TASK_UUID)),
  ),
  output: optional(OUTPUT_MEMBERS.output),
  settledEventId: optional(OUTPUT_MEMBERS.settledEventId),
  outputAfterEventId: optional(OUTPUT_MEMBERS.outputAfterEventId),
});

/** What a stream that begins with a snapshot sends first: the snapshot with output, and with what has room in a frame. */
export const SNAPSHOT_FRAME_MEMBERS = {
  ...SUMMARY_MEMBERS,
  ...FRAMED,
  attachments: list(ATTACHMENT),
  result: optional(described(`Of TASK_COMPLETED: any JSON. ${LEFT_OUT}`, anyJson())),
  ...OUTPUT_MEMBERS,
};

/** A task in a list. */
export type TaskSummary = TypeOf<typeof SUMMARY>;
/** A task by itself. */
export type TaskSnapshot = TypeOf<typeof SNAPSHOT>;

const TASK_ACCEPTED = object({
  taskId: described('A UUIDv7 in text form.', TASK_UUID),
  status: described('`ACCEPTED` for a new task, the current status for a repeat.', STATUS),
  clientRequestId: CLIENT_REQUEST_ID,
  deduplicated: described('Whether the task was there before.', boolean()),
});
export type TaskAccepted = TypeOf<typeof TASK_ACCEPTED>;

const CANCELLATION = object({ taskId: TASK_UUID, status: oneOf('CANCELLATION_REQUESTED', 'ALREADY_TERMINAL') });
export type Cancellation = TypeOf<typeof CANCELLATION>;

const ERASED = object({
  erased: described('Tasks that are gone now.', integer(0)),
  hasMore: described('Whether there are more to erase: ask again.', boolean()),
});
export type ErasedTasks = TypeOf<typeof ERASED>;

const ACTION_RESULT = object({
  taskId: TASK_UUID,
  suspendId: text(),
  clientActionId: CLIENT_ACTION_ID,
  status: oneOf(...ACTION_STATUSES),
});
export type ActionResult = TypeOf<typeof ACTION_RESULT>;

const ERROR = object({
  code: described('Stable; what to decide by.', text()),
  message: described('For a person.', text()),
  details: anyObject(),
  timestamp: timestamp(),
  correlationId: described('As in `X-Correlation-Id`: leads to the logs and the trace.', text({ format: 'uuid' })),
});
/** The one shape of every refusal, over HTTP and in its raw form on a socket. */
export type ErrorBody = TypeOf<typeof ERROR>;

const ANSWER = object({
  suspendId: text(),
  clientActionId: CLIENT_ACTION_ID,
  actionType: text(),
  payload: anyObject(),
  actorId: described('The principal who answered.', text()),
});
export type SuspendAnswer = TypeOf<typeof ANSWER>;

const LEASED_ATTACHMENT = object({
  ...ATTACHMENT_MEMBERS,
  url: described('Where the bytes are, with the lease token in `X-Lease-Token`; relative to the service.', text()),
});

const FINISHED_STEP = object({ key: STEP_KEY, result: described('As it was stored.', anyJson()) });

const LEASE = object({
  taskId: TASK_UUID,
  attempt: integer(1),
  leaseToken: described('Proves this attempt and nothing else.', text()),
  leaseExpiresAt: timestamp(),
  taskType: TASK_TYPE,
  clientRequestId: CLIENT_REQUEST_ID,
  input: anyObject(),
  metadata: anyObject(),
  ownerId: text(),
  attachments: list(named<TypeOf<typeof LEASED_ATTACHMENT>>('LeasedAttachment')),
  headEventId: HEAD_EVENT_ID,
  traceparent: nullable(text()),
  cancellationRequested: boolean(),
  resume: optional(described('The answer that the attempt goes on with.', named<SuspendAnswer>('SuspendAnswer'))),
  answers: described('All answers so far, oldest first.', list(named<SuspendAnswer>('SuspendAnswer'))),
  steps: optional(
    described(
      'The finished steps, oldest first, for a claim with `steps: true`. Absent where steps are not stored.',
      list(named<TypeOf<typeof FINISHED_STEP>>('FinishedStep')),
    ),
  ),
});
export type Lease = TypeOf<typeof LEASE>;

const SERVICE = object({
  version: described('Of the replica that answers.', text()),
  features: described(
    'What all replicas of the service know; a name that a client does not know means nothing to it.',
    list(text({ examples: [...FEATURE_NAMES] })),
  ),
});
export type Service = TypeOf<typeof SERVICE>;

const TASK_TYPE_STATE = object({
  taskType: TASK_TYPE,
  policy: described('In effect. Later versions add further members.', TASK_POLICY as Shape<TaskPolicy>),
  from: described(
    'By member of the policy, who set it: `file`, `handler`, or `worker:` and its version.',
    record(text({ examples: ['file'] })),
  ),
  paused: optional(
    described(
      'While an operator keeps its tasks from being claimed.',
      object({ since: timestamp(), by: text(), reason: optional(text()) }),
    ),
  ),
});
/** What applies to a task type, for operators. */
export type TaskTypeState = TypeOf<typeof TASK_TYPE_STATE>;

const FOLLOW_TOKEN_GIVEN = object({
  token: FOLLOW_TOKEN,
  expiresAt: described('By the clock of the database.', timestamp()),
});
export type FollowToken = TypeOf<typeof FOLLOW_TOKEN_GIVEN>;

const SIGN_OF_LEASE = { leaseExpiresAt: timestamp(), cancellationRequested: boolean() };
const RECEIPT = object({
  eventIds: described('For each event of the batch; those that were stored as one have the same.', list(EVENT_ID)),
  ...SIGN_OF_LEASE,
});
export type WorkerReceipt = TypeOf<typeof RECEIPT>;
const STEP_RECEIPT = object({
  eventId: described('Of its TASK_STEP.', EVENT_ID),
  result: described(
    'As it is stored. Where the step was finished before, that result, and not the one sent.',
    anyJson(),
  ),
  ...SIGN_OF_LEASE,
});
export type StepReceipt = TypeOf<typeof STEP_RECEIPT>;
const ATTACH_RECEIPT = object({ ...ATTACHMENT_MEMBERS, ...SIGN_OF_LEASE });
export type AttachReceipt = TypeOf<typeof ATTACH_RECEIPT>;
const RENEWED = object({ ...SIGN_OF_LEASE, cancelReason: optional(text()) });
export type RenewedLease = TypeOf<typeof RENEWED>;
const RENEWAL = object({
  taskId: TASK_UUID,
  leaseExpiresAt: optional(described('Of a lease that was extended.', timestamp())),
  cancellationRequested: optional(boolean()),
  cancelReason: optional(text()),
  code: optional(described('Why it was not extended.', oneOf('LEASE_LOST', 'TASK_ASIDE'))),
});
/** What became of one of many leases: extended with `leaseExpiresAt` and `cancellationRequested`, or not, with `code`. */
export type Renewal = TypeOf<typeof RENEWAL>;
const SIGNAL = object({
  type: described('A worker ignores a type that it does not know.', text({ examples: ['cancel'] })),
  taskId: TASK_UUID,
  attempt: integer(1),
  cancelReason: described('Of a cancellation.', text()),
});
export type Signal = TypeOf<typeof SIGNAL>;
const SUSPENDED = object({ suspendId: text(), eventId: EVENT_ID });
const ENDED = object({ eventId: EVENT_ID });
const FAILED = object({ eventId: EVENT_ID, willRetry: boolean() });

/** By type of event, the name of its schema: `TaskStarted` of `TASK_STARTED`. */
export const eventName = (type: string) =>
  type.toLowerCase().replace(/(?:^|_)(.)/g, (_, first: string) => first.toUpperCase());

/** OpenAPI's components, by name. */
export const SCHEMAS = {
  Attachment: ATTACHMENT,
  TaskQuestion: QUESTION,
  TaskFailure: FAILURE,
  AskedQuestion: ASKED,
  TaskAside: ASIDE,
  TaskSummary: SUMMARY,
  TaskSnapshot: SNAPSHOT,
  TaskPage: object({
    items: list(named<TaskSummary>('TaskSummary')),
    nextCursor: described('Opaque; null on the last page.', nullable(text())),
  }),
  ChangedTask: CHANGED_TASK,
  TaskChange: object(TASK_CHANGE),
  ChangesPage: object({
    changes: list(named<ObjectOf<typeof TASK_CHANGE>>('TaskChange')),
    next: described('The cursor behind them.', text({ maxLength: MAX_CHANGES_CURSOR_LENGTH })),
  }),
  TaskAccepted: TASK_ACCEPTED,
  TaskCancellation: CANCELLATION,
  ErasedTasks: ERASED,
  ActionResult: ACTION_RESULT,
  Error: ERROR,
  ...(Object.fromEntries(EVENT_TYPES.map((type) => [eventName(type), EVENT_SCHEMAS[type]])) as object),
  TaskEvent: discriminated(EVENT_TYPES, eventName),
  EventPage: object({
    taskId: TASK_UUID,
    events: list(named<TaskEvent>('TaskEvent')),
    nextAfterEventId: optional(
      described('The cursor to use next; absent when there was none and nothing came.', HEAD_EVENT_ID),
    ),
    nextBeforeEventId: optional(
      described('Of a page before an event: the `beforeEventId` to use next; absent when it is empty.', EVENT_ID),
    ),
    hasMore: described('Whether there is more already: after this page, or before it with `beforeEventId`.', boolean()),
    headEventId: HEAD_EVENT_ID,
    terminal: described('Whether the terminal event is in or before this page.', boolean()),
  }),
  SuspendAnswer: ANSWER,
  TaskTypeState: TASK_TYPE_STATE,
  TaskTypeEntry: TASK_TYPE_ENTRY,
  TaskTypes: TASK_TYPES,
  TaskCounts: TASK_COUNTS,
  StuckTask: STUCK_TASK,
  StuckTasks: STUCK_TASKS,
  OpenQuestion: QUESTION_ASKED,
  OpenQuestions: QUESTIONS_ASKED,
  Me: ME,
  SystemWorker: SYSTEM_WORKER,
  SystemWorkers: SYSTEM_WORKERS,
  SystemReplica: SYSTEM_REPLICA,
  SystemReplicas: SYSTEM_REPLICAS,
  SystemStream: SYSTEM_STREAM,
  SystemStreams: SYSTEM_STREAMS,
  StreamEnd: STREAM_END,
  SystemSetting: SYSTEM_SETTING,
  SystemSettings: SYSTEM_SETTINGS,
  SystemReadiness: SYSTEM_READINESS,
  SystemRetention: SYSTEM_RETENTION,
  SystemNumbers: SYSTEM_NUMBERS,
  SystemLog: SYSTEM_LOG,
  FollowToken: FOLLOW_TOKEN_GIVEN,
  Bulk: BULK,
  Schedule: SCHEDULE,
  Schedules: object({
    items: list(named<Schedule>('Schedule')),
    nextCursor: optional(described('Of schedules of others: opaque; null on the last page.', nullable(text()))),
  }),
  Service: SERVICE,
  Health: object({ status: constant('ok') }),
  Readiness: object({
    status: oneOf('ready', 'not_ready'),
    details: optional(described('By probe; for operators only.', anyObject())),
  }),
  LeasedAttachment: LEASED_ATTACHMENT,
  FinishedStep: FINISHED_STEP,
  Lease: LEASE,
  Leases: object({ leases: described('Empty after the wait.', list(named<Lease>('Lease'))) }),
  WorkerReceipt: RECEIPT,
  StepReceipt: STEP_RECEIPT,
  AttachReceipt: ATTACH_RECEIPT,
  RenewedLease: RENEWED,
  Renewal: RENEWAL,
  RenewedLeases: object({ leases: described('In the order of the request.', list(named<Renewal>('Renewal'))) }),
  Signal: SIGNAL,
  Signals: object({ signals: described('Empty after the wait.', list(named<Signal>('Signal'))) }),
  TaskSuspension: SUSPENDED,
  TaskEnd: ENDED,
  AttemptFailure: FAILED,
} as const satisfies Readonly<Record<string, JsonSchema>>;

export type SchemaName = keyof typeof SCHEMAS;
/** The type of an answer, by the name of its schema. */
export type Answer<N extends SchemaName> = TypeOf<(typeof SCHEMAS)[N]>;
