import { BULK_FILTER, START_BULK } from './bulk.js';
import { APPENDABLE_TYPES, APPENDED_SCHEMAS, type EventType, EVENTS } from './events.js';
import { FOLLOW_RIGHT, FOLLOW_RIGHTS, FOLLOW_TOKEN_SECONDS } from './follow-tokens.js';
import {
  BEFORE_EVENT_ID,
  CLIENT_ACTION_ID,
  CLIENT_REQUEST_ID,
  CURSOR,
  EVENT_KEY,
  PRINCIPAL_ID,
  SENT_TASK_ID,
  STEP_KEY,
  TASK_ID,
  TASK_TYPE,
  VISIBLE_ASCII,
  WORKER_FEATURE,
  WORKER_VERSION,
} from './ids.js';
import {
  anyJson,
  anyObject,
  boolean,
  constant,
  described,
  discriminated,
  integer,
  type JsonSchema,
  list,
  type Members,
  named,
  nullable,
  object,
  oneOf,
  optional,
  sentTimestamp,
  text,
} from './json-schema.js';
import {
  CLAIM_WAIT_MS,
  LEASE_SECONDS,
  LIST_LIMIT,
  LONGEST_RETRY_AFTER_MS,
  MAX_ALLOWED_ACTIONS,
  MAX_ATTEMPTS,
  MAX_BATCH_EVENTS,
  MAX_BATCH_SEQ,
  MAX_CANCEL_REASON_LENGTH,
  MAX_CHANGES_CURSOR_LENGTH,
  MAX_DELAY_SECONDS,
  MAX_PRINCIPAL_LENGTH,
  MAX_EVENTS,
  MAX_FAILURE_MESSAGE_LENGTH,
  MAX_HELD_LEASES,
  MAX_LEASE_TOKEN_LENGTH,
  MAX_LIST_CURSOR_LENGTH,
  MAX_NAME_LENGTH,
  MAX_PAUSE_REASON_LENGTH,
  MAX_RESULT_BYTES,
  MAX_STEP_RESULT_BYTES,
  MAX_TASK_TYPES,
  MAX_TASKS,
  MAX_WORKER_FEATURES,
  MAX_WORKER_ID_LENGTH,
  POLL_WAIT_MS,
  PRIORITY,
  SIGNALS_WAIT_MS,
} from './limits.js';
import { LOG_LIMIT, MAX_SCHEDULE_CURSOR_LENGTH, PAGE_LIMIT, STUCK_KINDS, STUCK_LIMIT } from './operators.js';
import { PUT_SCHEDULE } from './schedules.js';
import { eventName, TASK_STATUSES } from './snapshots.js';

// What clients and workers send over HTTP. Unlike an answer, a body has no members but these.

/** What a snapshot shows on request. */
export const INCLUDED = ['output'] as const;

const NAME = text({ minLength: 1, maxLength: MAX_NAME_LENGTH });
const cancelReason = (absent: string) =>
  described(
    `The reason of TASK_CANCELLED. Absent, null and empty mean ${absent}.`,
    nullable(text({ maxLength: MAX_CANCEL_REASON_LENGTH })),
  );
const ranged = (range: { readonly minimum: number; readonly maximum: number; readonly default: number }) => ({
  ...integer(range.minimum, range.maximum),
  default: range.default,
});

const CREATE_TASK = {
  clientRequestId: optional(
    described(
      'Names the request: a repeat with the same id makes no second task. Required, unless `Idempotency-Key` has it.',
      text({ ...CLIENT_REQUEST_ID, examples: ['order-4711'] }),
    ),
  ),
  taskType: described('The name of the handler.', text({ ...TASK_TYPE, examples: ['demo.greet'] })),
  input: optional(described('What the handler gets.', anyObject())),
  metadata: optional(described('Kept with the task and shown in its snapshot.', anyObject())),
  startAfter: optional(
    described('The task does not begin before. This or `delaySeconds`, and not both.', sentTimestamp()),
  ),
  delaySeconds: optional(described('The same, from its creation.', integer(0, MAX_DELAY_SECONDS))),
  // A default would make it a member that typed clients have to send.
  priority: optional(
    described(
      `A higher one comes before lower ones; ${PRIORITY.default} without one. Needs \`tasks:prioritise\`.`,
      integer(PRIORITY.minimum, PRIORITY.maximum),
    ),
  ),
  deadline: optional(described('A task that is not over then fails as `EXPIRED`.', sentTimestamp())),
  maxAttempts: optional(
    described(
      'Attempts that may fail or be lost. The lower of this and that of the type counts.',
      integer(MAX_ATTEMPTS.minimum, MAX_ATTEMPTS.maximum),
    ),
  ),
};
const FILES = list(text({ contentMediaType: 'application/octet-stream' }));

const LEASE_TOKEN = {
  leaseToken: described(
    'Of the lease; it alone proves the lease.',
    text({ minLength: 1, maxLength: MAX_LEASE_TOKEN_LENGTH }),
  ),
};

const WORKER_ID = text({ ...VISIBLE_ASCII, maxLength: MAX_WORKER_ID_LENGTH });

const appendedName = (type: EventType) => `Append${eventName(type)}`;

/** The bodies of requests. Each is one of OpenAPI's components. */
export const REQUESTS = {
  CreateTask: object(CREATE_TASK),
  CreateTaskForm: object({ ...CREATE_TASK, attachment: optional(FILES), attachments: optional(FILES) }),
  CancelTask: object({
    reason: optional(cancelReason('`cancelled_by_user`')),
  }),
  RetryTask: object({
    clientRequestId: described(
      'Names the request, as in a create: a repeat with the same id makes no second task.',
      text({ ...CLIENT_REQUEST_ID, examples: ['order-4711-again'] }),
    ),
    input: optional(described('Instead of the input of the task.', anyObject())),
    keepSteps: optional(
      described('Whether the finished steps of the task are kept.', { ...boolean(), default: false }),
    ),
  }),
  PauseTaskType: object({
    reason: optional(described('Shown to operators.', text({ minLength: 1, maxLength: MAX_PAUSE_REASON_LENGTH }))),
  }),
  SubmitAction: object({
    clientActionId: described('Names the action: a repeat with the same id is the same action.', CLIENT_ACTION_ID),
    suspendId: described('Of TASK_SUSPENDED.', NAME),
    actionType: described('One of `allowedActions` of the question.', NAME),
    payload: optional(described('What the handler gets.', anyObject())),
    metadata: optional(anyObject()),
  }),
  PutSchedule: PUT_SCHEDULE,
  BulkFilter: BULK_FILTER,
  StartBulk: START_BULK,
  MintFollowToken: object({
    taskId: optional(described('The task that the token opens. This member or `owner`, and not both.', TASK_ID)),
    owner: optional(described('The token opens all tasks of the caller.', constant(true))),
    may: described(
      'What its holder may do. `read` is always given.',
      list(FOLLOW_RIGHT, { minItems: 1, maxItems: FOLLOW_RIGHTS.length }),
    ),
    seconds: optional(
      described(
        'How long it lives; less where the credentials of the caller end before.',
        ranged(FOLLOW_TOKEN_SECONDS),
      ),
    ),
  }),
  ClaimTasks: object({
    workerId: described('Names the worker in logs; unique among workers.', WORKER_ID),
    taskTypes: list(TASK_TYPE, { minItems: 1, maxItems: MAX_TASK_TYPES }),
    maxTasks: optional(ranged(MAX_TASKS)),
    waitTimeoutMs: optional(described('How long to wait while there is nothing to do.', ranged(CLAIM_WAIT_MS))),
    steps: optional(
      described('Whether the worker knows steps. Without it, tasks with a finished step are not leased to it.', {
        ...boolean(),
        default: false,
      }),
    ),
    leaseSeconds: optional(
      described(
        'How long its leases last from the last accepted call. Absent: `LEASE_SECONDS`. At most `MAX_LEASE_SECONDS`.',
        integer(LEASE_SECONDS.minimum, LEASE_SECONDS.maximum),
      ),
    ),
    version: optional(described('Of the program that works, for operators.', WORKER_VERSION)),
    features: optional(
      described('Which features of the protocol the program knows, for operators.', {
        ...list(WORKER_FEATURE, { maxItems: MAX_WORKER_FEATURES }),
        default: [],
      }),
    ),
    policies: optional(
      described(
        'By type, a policy without `backoff`, as in docs/queue.md. It counts where operators and handlers set nothing narrower. Needs `version`.',
        anyObject(),
      ),
    ),
  }),
  HeldLease: object({ taskId: SENT_TASK_ID, ...LEASE_TOKEN }),
  ExtendLeases: object({ leases: list(named('HeldLease'), { minItems: 1, maxItems: MAX_HELD_LEASES }) }),
  AwaitSignals: object({
    workerId: described('As in the claims of the worker.', WORKER_ID),
    known: optional(
      described('Tasks whose cancellation the worker has learned: they are left out.', {
        ...list(SENT_TASK_ID, { maxItems: MAX_HELD_LEASES }),
        default: [],
      }),
    ),
    waitTimeoutMs: optional(described('How long to wait while there is no signal.', ranged(SIGNALS_WAIT_MS))),
  }),
  ProveLease: object(LEASE_TOKEN),
  ...(Object.fromEntries(
    APPENDABLE_TYPES.map((type) => [
      appendedName(type),
      object({ type: constant(type), payload: APPENDED_SCHEMAS[type], eventKey: optional(EVENT_KEY) }),
    ]),
  ) as object),
  AppendedEvent: discriminated(APPENDABLE_TYPES, appendedName),
  AppendEvents: object({
    ...LEASE_TOKEN,
    batchSeq: optional(
      described(
        '1, 2, 3 and so on within the lease. Absent where each event has an `eventKey`.',
        integer(1, MAX_BATCH_SEQ),
      ),
    ),
    events: list(named('AppendedEvent'), { minItems: 1, maxItems: MAX_BATCH_EVENTS }),
  }),
  FinishStep: object({
    ...LEASE_TOKEN,
    batchSeq: described('The next one: a step counts as a batch.', integer(1, MAX_BATCH_SEQ)),
    key: STEP_KEY,
    result: described(`Any JSON, at most ${MAX_STEP_RESULT_BYTES} bytes as it is stored.`, anyJson()),
  }),
  SuspendTask: object({
    ...LEASE_TOKEN,
    suspendId: optional(
      described(
        'The place in the handler that asks; the service makes one up when it is absent. A task asks once under one id.',
        text({ ...VISIBLE_ASCII, maxLength: MAX_NAME_LENGTH }),
      ),
    ),
    kind: EVENTS.TASK_SUSPENDED.payload.kind,
    reasonCode: NAME,
    allowedActions: list(NAME, { minItems: 1, maxItems: MAX_ALLOWED_ACTIONS }),
    schemaVersion: optional({ ...integer(1), default: 1 }),
    actionSchemas: optional(
      described(
        'By action, of `allowedActions`: the JSON Schema that the `payload` of an answer has to fit.',
        anyObject(),
      ),
    ),
    interaction: optional(anyObject()),
    uiHints: optional(anyObject()),
    expiresAt: optional(sentTimestamp()),
  }),
  CompleteTask: object({
    ...LEASE_TOKEN,
    result: described(`Any JSON, at most ${MAX_RESULT_BYTES - '{"result":}'.length} bytes as it is stored.`, anyJson()),
  }),
  FailAttempt: object({
    ...LEASE_TOKEN,
    code: NAME,
    message: text({ maxLength: MAX_FAILURE_MESSAGE_LENGTH }),
    retryable: boolean(),
    retryAfterMs: optional(described('Instead of the backoff.', integer(0, LONGEST_RETRY_AFTER_MS))),
  }),
  ConfirmCancellation: object({ ...LEASE_TOKEN, reason: optional(cancelReason('that of the request')) }),
} as const satisfies Readonly<Record<string, JsonSchema>>;

export type RequestName = keyof typeof REQUESTS;

/** Where a stream without a cursor may begin, other than with the first event. */
export const BEGINNINGS = ['snapshot', 'now'] as const;
export type Beginning = (typeof BEGINNINGS)[number];
export const FROM = described(
  'Where to begin without a cursor: `snapshot` with a TASK_SNAPSHOT and the events after it, `now` with the next event.',
  oneOf(...BEGINNINGS),
);

const WITHOUT_CONTROLS = '^[^\\x00-\\x1f\\x7f-\\x9f]*$';
/** Whose tasks a feed, a list or a count shows. Without any of them, those of the caller. */
const SCOPE = {
  owner: optional(
    described(
      'Tasks of this principal. Needs `tasks:admin`, as the next two.',
      text({ minLength: 1, maxLength: MAX_PRINCIPAL_LENGTH, pattern: WITHOUT_CONTROLS }),
    ),
  ),
  tenant: optional(
    described(
      "All tasks of this tenant, or with `owner` that owner's there. Empty: those without a tenant.",
      text({ maxLength: MAX_PRINCIPAL_LENGTH, pattern: WITHOUT_CONTROLS }),
    ),
  ),
  all: optional(described('All tasks of the installation.', boolean())),
} as const satisfies Members;

export const CHANGES_CURSOR = text({ maxLength: MAX_CHANGES_CURSOR_LENGTH });
/** What a feed shows. */
export const CHANGES = {
  after: optional(
    described(
      'The cursor of the last change that the client has, or `next`. Absent and empty mean from now on.',
      CHANGES_CURSOR,
    ),
  ),
  status: optional(described('Others come as `left`.', oneOf(...TASK_STATUSES))),
  suspended: optional(described('Only tasks with, or without, an open question. Others come as `left`.', boolean())),
  taskType: optional(TASK_TYPE),
  tags: optional(described('Members of `metadata` that a task has, as strings.', anyObject())),
  ...SCOPE,
} as const satisfies Members;

const TAGS_IN_QUERY = optional(
  described(
    'Members of `metadata` that a task has: a JSON object of strings.',
    text({ examples: ['{"order":"4711"}'] }),
  ),
);

const TOKEN_IN_QUERY = optional(described('A follow token, for clients that cannot send `Authorization`.', text()));

const LIST_CURSOR = optional(
  described('`nextCursor` of the page before.', text({ maxLength: MAX_LIST_CURSOR_LENGTH })),
);

/** The parameters of queries, by operation. */
export const QUERIES = {
  readTask: {
    include: optional(described('`output`: with the text that counts so far.', oneOf(...INCLUDED))),
  },
  listTasks: {
    status: optional(oneOf(...TASK_STATUSES)),
    taskType: optional(TASK_TYPE),
    taskTypePrefix: optional(
      described('Types that begin with it, such as `demo.`.', text({ ...TASK_TYPE, examples: ['demo.'] })),
    ),
    clientRequestId: optional(described('Only the task of this request.', CLIENT_REQUEST_ID)),
    failureCode: optional(
      described(
        'Only failed tasks, with this `code` of TASK_FAILED.',
        text({ minLength: 1, maxLength: MAX_NAME_LENGTH }),
      ),
    ),
    tags: TAGS_IN_QUERY,
    suspended: optional(described('Only tasks with, or without, an open question.', boolean())),
    createdAfter: optional(sentTimestamp()),
    createdBefore: optional(sentTimestamp()),
    ...SCOPE,
    limit: optional(ranged(LIST_LIMIT)),
    cursor: LIST_CURSOR,
  },
  countTasks: SCOPE,
  listStuck: {
    kind: optional(described('Only these.', oneOf(...STUCK_KINDS))),
    ...SCOPE,
    limit: optional(described('The most tasks of each kind.', ranged(STUCK_LIMIT))),
  },
  listQuestions: { ...SCOPE, limit: optional(ranged(LIST_LIMIT)), cursor: LIST_CURSOR },
  listTypes: { limit: optional(ranged(PAGE_LIMIT)), cursor: LIST_CURSOR },
  listSchedules: {
    ...SCOPE,
    limit: optional(ranged(PAGE_LIMIT)),
    cursor: optional(described('`nextCursor` of the page before.', text({ maxLength: MAX_SCHEDULE_CURSOR_LENGTH }))),
  },
  listWorkers: { limit: optional(ranged(PAGE_LIMIT)), cursor: LIST_CURSOR },
  readLog: {
    after: optional(
      described(
        '`next` of the answer before. Absent, or of another replica: the newest lines.',
        text({ maxLength: MAX_LIST_CURSOR_LENGTH }),
      ),
    ),
    limit: optional(ranged(LOG_LIMIT)),
  },
  pollEvents: {
    afterEventId: optional(CURSOR),
    beforeEventId: optional(BEFORE_EVENT_ID),
    waitTimeoutMs: optional(
      described(
        'How long to wait while there is nothing after the cursor, also at the terminal event.',
        ranged(POLL_WAIT_MS),
      ),
    ),
    maxEvents: optional(ranged(MAX_EVENTS)),
  },
  attachFile: {
    filename: described('A plain base name. The task has one file of its executor under a name.', NAME),
  },
  pollChanges: {
    ...CHANGES,
    tags: TAGS_IN_QUERY,
    waitTimeoutMs: optional(
      described('How long to wait while there is no change after the cursor.', ranged(POLL_WAIT_MS)),
    ),
  },
  streamChanges: { ...CHANGES, tags: TAGS_IN_QUERY, token: TOKEN_IN_QUERY },
  streamEvents: {
    lastEventId: optional(described('For clients that cannot send `Last-Event-ID`, which wins.', CURSOR)),
    from: optional(FROM),
    token: TOKEN_IN_QUERY,
  },
  eraseTasks: {
    tenant: optional(
      described('The tenant of the owner. Absent: that of the caller.', text({ maxLength: MAX_PRINCIPAL_LENGTH })),
    ),
  },
  revokeTokens: {
    taskId: optional(described('Tokens of any principal for this task. This or `owner`, and not both.', TASK_ID)),
    owner: optional(described('All tokens that the caller minted.', constant('true'))),
  },
} as const satisfies Readonly<Record<string, Members>>;

/** Headers with a meaning of their own. The service ignores a `Range` or `traceparent` of another form. */
export const HEADERS = {
  'Idempotency-Key': described(
    'Instead of `clientRequestId`, in UTF-8, with or without quotes. Where both are given they must be equal.',
    text(),
  ),
  'Last-Event-ID': CURSOR,
  'If-None-Match': described('Entity tags that the client has, or `*`.', text()),
  'If-Range': described('The entity tag that the range is for. With another one the whole file comes.', text()),
  Range: described('`bytes=` and one range.', text()),
  'X-Lease-Token': described(
    'Of the lease, for the worker that holds it. For a download: instead of a principal.',
    text(),
  ),
  traceparent: described('W3C Trace Context: the trace that the request belongs to.', text()),
  'X-Principal-Id': described('The caller. The proxy in front of the service sends it, and no client.', PRINCIPAL_ID),
  'X-Principal-Scopes': described('What the caller may do, separated by spaces or commas. From the proxy.', text()),
  'X-Tenant-Id': described('The tenant of the caller. From the proxy.', PRINCIPAL_ID),
  'X-App-Id': described('The application of the caller. From the proxy.', PRINCIPAL_ID),
} as const satisfies Readonly<Record<string, JsonSchema>>;

export type HeaderName = keyof typeof HEADERS;
