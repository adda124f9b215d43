import { APPENDABLE_TYPES, APPENDED_SCHEMAS, type EventType, EVENTS } from './events.js';
import {
  CLIENT_ACTION_ID,
  CLIENT_REQUEST_ID,
  CURSOR,
  PRINCIPAL_ID,
  STEP_KEY,
  TASK_TYPE,
  VISIBLE_ASCII,
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
  LIST_LIMIT,
  LONGEST_RETRY_AFTER_MS,
  MAX_ALLOWED_ACTIONS,
  MAX_BATCH_EVENTS,
  MAX_BATCH_SEQ,
  MAX_CANCEL_REASON_LENGTH,
  MAX_CHANGES_CURSOR_LENGTH,
  MAX_PRINCIPAL_LENGTH,
  MAX_EVENTS,
  MAX_FAILURE_MESSAGE_LENGTH,
  MAX_LEASE_TOKEN_LENGTH,
  MAX_LIST_CURSOR_LENGTH,
  MAX_NAME_LENGTH,
  MAX_RESULT_BYTES,
  MAX_STEP_RESULT_BYTES,
  MAX_TASK_TYPES,
  MAX_TASKS,
  MAX_WORKER_ID_LENGTH,
  POLL_WAIT_MS,
} from './limits.js';
import { eventName, TASK_STATUSES } from './snapshots.js';

// What clients and workers send over HTTP. Unlike an answer, a body has no members but these.

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
};
const FILES = list(text({ contentMediaType: 'application/octet-stream' }));

const LEASE_TOKEN = {
  leaseToken: described(
    'Of the lease; it alone proves the lease.',
    text({ minLength: 1, maxLength: MAX_LEASE_TOKEN_LENGTH }),
  ),
};

const appendedName = (type: EventType) => `Append${eventName(type)}`;

/** The bodies of requests. Each is one of OpenAPI's components. */
export const REQUESTS = {
  CreateTask: object(CREATE_TASK),
  CreateTaskForm: object({ ...CREATE_TASK, attachment: optional(FILES), attachments: optional(FILES) }),
  CancelTask: object({
    reason: optional(cancelReason('`cancelled_by_user`')),
  }),
  SubmitAction: object({
    clientActionId: described('Names the action: a repeat with the same id is the same action.', CLIENT_ACTION_ID),
    suspendId: described('Of TASK_SUSPENDED.', NAME),
    actionType: described('One of `allowedActions` of the question.', NAME),
    payload: optional(described('What the handler gets.', anyObject())),
    metadata: optional(anyObject()),
  }),
  ClaimTasks: object({
    workerId: described(
      'Names the worker in logs; unique among workers.',
      text({ ...VISIBLE_ASCII, maxLength: MAX_WORKER_ID_LENGTH }),
    ),
    taskTypes: list(TASK_TYPE, { minItems: 1, maxItems: MAX_TASK_TYPES }),
    maxTasks: optional(ranged(MAX_TASKS)),
    waitTimeoutMs: optional(described('How long to wait while there is nothing to do.', ranged(CLAIM_WAIT_MS))),
    steps: optional(
      described('Whether the worker knows steps. Without it, tasks with a finished step are not leased to it.', {
        ...boolean(),
        default: false,
      }),
    ),
  }),
  ProveLease: object(LEASE_TOKEN),
  ...(Object.fromEntries(
    APPENDABLE_TYPES.map((type) => [
      appendedName(type),
      object({ type: constant(type), payload: APPENDED_SCHEMAS[type] }),
    ]),
  ) as object),
  AppendedEvent: discriminated(APPENDABLE_TYPES, appendedName),
  AppendEvents: object({
    ...LEASE_TOKEN,
    batchSeq: described('1, 2, 3 and so on within the lease.', integer(1, MAX_BATCH_SEQ)),
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
  owner: optional(
    described(
      'Tasks of this principal. Needs `tasks:admin`, as the next two.',
      text({ minLength: 1, maxLength: MAX_PRINCIPAL_LENGTH }),
    ),
  ),
  tenant: optional(
    described(
      "All tasks of this tenant, or with `owner` that owner's there. Empty: those without a tenant.",
      text({ maxLength: MAX_PRINCIPAL_LENGTH }),
    ),
  ),
  all: optional(described('All tasks of the installation.', boolean())),
} as const satisfies Members;

const TAGS_IN_QUERY = optional(
  described(
    'Members of `metadata` that a task has: a JSON object of strings.',
    text({ examples: ['{"order":"4711"}'] }),
  ),
);

/** The parameters of queries, by operation. */
export const QUERIES = {
  listTasks: {
    status: optional(oneOf(...TASK_STATUSES)),
    taskType: optional(TASK_TYPE),
    suspended: optional(described('Only tasks with, or without, an open question.', boolean())),
    createdAfter: optional(sentTimestamp()),
    createdBefore: optional(sentTimestamp()),
    limit: optional(ranged(LIST_LIMIT)),
    cursor: optional(described('`nextCursor` of the page before.', text({ maxLength: MAX_LIST_CURSOR_LENGTH }))),
  },
  pollEvents: {
    afterEventId: optional(CURSOR),
    waitTimeoutMs: optional(
      described(
        'How long to wait while there is nothing after the cursor, also at the terminal event.',
        ranged(POLL_WAIT_MS),
      ),
    ),
    maxEvents: optional(ranged(MAX_EVENTS)),
  },
  pollChanges: {
    ...CHANGES,
    tags: TAGS_IN_QUERY,
    waitTimeoutMs: optional(
      described('How long to wait while there is no change after the cursor.', ranged(POLL_WAIT_MS)),
    ),
  },
  streamChanges: { ...CHANGES, tags: TAGS_IN_QUERY },
  streamEvents: {
    lastEventId: optional(described('For clients that cannot send `Last-Event-ID`, which wins.', CURSOR)),
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
  'X-Lease-Token': described('For the worker that holds the lease: instead of a principal.', text()),
  traceparent: described('W3C Trace Context: the trace that the request belongs to.', text()),
  'X-Principal-Id': described('The caller. The proxy in front of the service sends it, and no client.', PRINCIPAL_ID),
  'X-Principal-Scopes': described('What the caller may do, separated by spaces or commas. From the proxy.', text()),
  'X-Tenant-Id': described('The tenant of the caller. From the proxy.', PRINCIPAL_ID),
  'X-App-Id': described('The application of the caller. From the proxy.', PRINCIPAL_ID),
} as const satisfies Readonly<Record<string, JsonSchema>>;

export type HeaderName = keyof typeof HEADERS;
