// Numbers of the wire. Bytes are of UTF-8, lengths are in characters, times in milliseconds.

const KIB = 1024;
const MIB = 1024 * KIB;

/** Arrays and objects around a value, in any JSON that the service takes. Bounds every recursion over it. */
export const MAX_JSON_DEPTH = 32;

/** One frame of a client. */
export const MAX_FRAME_BYTES = 64 * KIB;
/** One frame of the service: an event on a WebSocket, or its block on an SSE stream. */
export const MAX_SENT_FRAME_BYTES = MIB;
/** What a frame has around the payload of an event, at most: the other members, and the lines of SSE. */
const AROUND_PAYLOAD_BYTES = 256;
/** The payload that carries a result. */
export const MAX_RESULT_BYTES = MAX_SENT_FRAME_BYTES - AROUND_PAYLOAD_BYTES;
/** One payload of an event, unless the service says otherwise. */
export const MAX_EVENT_BYTES = 64 * KIB;

/** The result of a step, as it is stored. */
export const MAX_STEP_RESULT_BYTES = 64 * KIB;

/** One batch of a worker: the bytes of its payloads, and its events. */
export const MAX_BATCH_BYTES = 256 * KIB;
export const MAX_BATCH_EVENTS = 500;
export const MAX_BATCH_SEQ = 2 ** 31 - 1;

/** `suspendId`, `reasonCode`, an action, the code of a failure. */
export const MAX_NAME_LENGTH = 255;
export const MAX_REF_LENGTH = 255;
export const MAX_CANCEL_REASON_LENGTH = 1_024;
export const MAX_PAUSE_REASON_LENGTH = 1_024;
export const MAX_FAILURE_MESSAGE_LENGTH = 8_192;
export const MAX_WORKER_ID_LENGTH = 128;
export const MAX_LEASE_TOKEN_LENGTH = 128;
export const MAX_LIST_CURSOR_LENGTH = 200;
/** The most tasks that run a task again, and that its snapshot names. */
export const MAX_SHOWN_RERUNS = 10;
/** The most questions of a task that its snapshot names. */
export const MAX_SHOWN_QUESTIONS = 50;
/** The cursor of a feed of changes. */
export const MAX_CHANGES_CURSOR_LENGTH = 1_024;
/** Tags that a feed may ask for. */
export const MAX_TAGS = 16;
/** The id of a principal or a tenant. */
export const MAX_PRINCIPAL_LENGTH = 128;
export const MAX_ALLOWED_ACTIONS = 100;
export const LONGEST_RETRY_AFTER_MS = 24 * 60 * 60 * 1_000;

interface Range {
  readonly minimum: number;
  readonly maximum: number;
  readonly default: number;
}

/** Tasks on a page of `GET /tasks`. */
export const LIST_LIMIT: Range = { minimum: 1, maximum: 100, default: 50 };

/** Events on a page of `GET /tasks/{taskId}/events`. */
export const MAX_EVENTS: Range = { minimum: 1, maximum: 500, default: 100 };
export const POLL_WAIT_MS: Range = { minimum: 0, maximum: 60_000, default: 25_000 };

/** What a snapshot with output reads of the log, and how much text it shows. */
export const SHOWN_OUTPUT = { events: 5_000, readBytes: 4 * MIB, bytes: 512 * KIB };

/** The priority of a task: more comes sooner. */
export const PRIORITY: Range = { minimum: 0, maximum: 9, default: 5 };
/** A year. */
export const MAX_DELAY_SECONDS = 31_536_000;
export const MAX_ATTEMPTS = { minimum: 1, maximum: 1_000 };
/** The text of a policy, its schemas included, as JSON. */
export const MAX_POLICY_BYTES = 64 * KIB;

/** The most types that a claim names. */
export const MAX_TASK_TYPES = 100;
export const MAX_TASKS: Range = { minimum: 1, maximum: 50, default: 1 };
export const CLAIM_WAIT_MS: Range = { minimum: 0, maximum: 30_000, default: 20_000 };
/** The length of a lease that a claim may ask for; a setting may bound it further. */
export const LEASE_SECONDS = { minimum: 1, maximum: 86_400 };
/** What a claim says that the worker can. */
export const MAX_WORKER_FEATURES = 32;
/** The most leases that one call extends, and the most tasks that a call for signals knows to be cancelled. */
export const MAX_HELD_LEASES = 500;
export const SIGNALS_WAIT_MS: Range = { minimum: 0, maximum: 30_000, default: 20_000 };

interface LimitRow {
  readonly what: string;
  /** A fixed number of bytes; absent where a setting says it. */
  readonly bytes?: number;
  /** Its default is the limit. */
  readonly setting?: string;
  readonly unit?: 'bytes' | 'seconds';
  readonly more?: string;
}

/** For PROTOCOL.md. */
export const LIMITS: readonly LimitRow[] = [
  { what: 'JSON body', setting: 'MAX_REQUEST_BODY_SIZE_BYTES', unit: 'bytes' },
  { what: 'one attachment', setting: 'UPLOAD_MAX_FILE_BYTES', unit: 'bytes' },
  {
    what: 'the attachments of a create; and those of the executor of a task',
    setting: 'UPLOAD_MAX_TOTAL_BYTES',
    unit: 'bytes',
  },
  { what: 'attachments of a create; and of the executor of a task', setting: 'UPLOAD_MAX_FILES' },
  { what: 'the attachments of an owner', setting: 'UPLOAD_QUOTA_BYTES', unit: 'bytes' },
  { what: 'frame from a client', bytes: MAX_FRAME_BYTES },
  {
    what: 'frame to a client: an event, a change or a snapshot on a WebSocket, or its block on an SSE stream',
    bytes: MAX_SENT_FRAME_BYTES,
    more: 'results of release 0.1.0 may exceed it by 256 bytes',
  },
  {
    what: 'payload of an event, a question included, as it is stored',
    setting: 'MAX_EVENT_PAYLOAD_BYTES',
    unit: 'bytes',
    more: 'at most that of a result',
  },
  { what: 'result of a task, as the payload that carries it, as it is stored', bytes: MAX_RESULT_BYTES },
  { what: 'result of a step, as it is stored', bytes: MAX_STEP_RESULT_BYTES },
  {
    what: 'the texts of the output in a snapshot, `data` and `settled` together, as JSON',
    bytes: SHOWN_OUTPUT.bytes,
    more: 'older text is cut, and `truncated` is true',
  },
  {
    what: 'payloads that are read for it, of the newest events',
    bytes: SHOWN_OUTPUT.readBytes,
    more: `at most ${SHOWN_OUTPUT.events} events`,
  },
  { what: 'events of a task', setting: 'MAX_EVENTS_PER_TASK', more: 'then it fails with `EVENT_LIMIT_EXCEEDED`' },
  {
    what: 'open streams of a principal on one replica, and its long-polls that wait for an event',
    setting: 'STREAMS_PER_PRINCIPAL',
  },
  {
    what: 'tasks of a principal that are not over',
    setting: 'OPEN_TASKS_PER_PRINCIPAL',
    more: 'a repeated create is never refused for it',
  },
  {
    what: 'unsent bytes of a stream',
    setting: 'STREAM_MAX_BUFFERED_BYTES',
    unit: 'bytes',
    more: 'above it the stream is paused, and ended if that lasts 10 s',
  },
  {
    what: 'age of a stream',
    setting: 'STREAM_MAX_SECONDS',
    unit: 'seconds',
    more: 'less up to a tenth at random',
  },
];
