import type { TaskPolicy } from './policies.js';
import { TASK_POLICY } from './policies.js';
import { HEAD_EVENT_ID, TASK_TYPE, TASK_UUID } from './ids.js';
import {
  anyObject,
  boolean,
  described,
  integer,
  list,
  named,
  nullable,
  number,
  object,
  oneOf,
  optional,
  record,
  type Shape,
  text,
  timestamp,
  type TypeOf,
} from './json-schema.js';
import type { EventPayload } from './events.js';

// What the routes of operators answer. docs/operations.md has who may call them.

/** Rows that a request reads to make a page, at most. A page of a rare thing may so be short, also empty, before the last one. */
export const MAX_SCANNED_TASKS = 10_000;
/** A count stops here. */
export const MAX_COUNTED = 10_000;
export const STUCK_LIMIT = { minimum: 1, maximum: 200, default: 50 };
/** It names a tenant, an owner and a schedule. */
export const MAX_SCHEDULE_CURSOR_LENGTH = 1_536;
export const PAGE_LIMIT = { minimum: 1, maximum: 200, default: 100 };
export const LOG_LIMIT = { minimum: 1, maximum: 1_000, default: 200 };

export const STUCK_KINDS = ['silent_lease', 'retrying', 'no_worker', 'overdue_question', 'aside'] as const;
export type StuckKind = (typeof STUCK_KINDS)[number];

const NEXT_CURSOR = described('Opaque; null on the last page.', nullable(text()));
const REPLICA = described('The replica that answers: these are its own facts.', text({ format: 'uuid' }));
const OWNER = {
  ownerId: described('The principal that it belongs to.', text()),
  tenantId: optional(described('Its tenant. Absent without one.', text())),
};

const BY_STATUS = described('By status. A status without tasks may be absent.', record(integer(0)));
export const TASK_COUNTS = object({
  byStatus: BY_STATUS,
  byType: described(
    'The same of each type that has tasks, by name; the first 1000 types.',
    list(object({ taskType: TASK_TYPE, byStatus: BY_STATUS })),
  ),
  atLeast: described(
    `Whether more than ${MAX_COUNTED} tasks are not over. Then \`ACCEPTED\` is a lower bound; the others are exact.`,
    boolean(),
  ),
});
export type TaskCounts = TypeOf<typeof TASK_COUNTS>;

export const STUCK_TASK = object({
  kind: described(
    '`silent_lease`: its worker gives no sign of life. `retrying`: attempts failed or were lost. `no_worker`: it is due, and nobody takes its type. `overdue_question`: nobody answers. `aside`: it waits for an operator. Further values may come.',
    text({ examples: [...STUCK_KINDS] }),
  ),
  why: described('For a person.', text()),
  since: timestamp(),
  task: named<object>('TaskSummary'),
});
export const STUCK_TASKS = object({
  items: described('By kind, then the oldest first.', list(named<TypeOf<typeof STUCK_TASK>>('StuckTask'))),
  hasMore: described('The kinds that have more tasks than `limit`.', list(text({ examples: ['retrying'] }))),
});

export const QUESTION_ASKED = object({
  taskId: TASK_UUID,
  taskType: TASK_TYPE,
  ...OWNER,
  question: described('As in `openSuspension` of the task.', named<EventPayload<'TASK_SUSPENDED'>>('TaskQuestion')),
  askedAt: timestamp(),
});
export const QUESTIONS_ASKED = object({
  items: described('Oldest first.', list(named<TypeOf<typeof QUESTION_ASKED>>('OpenQuestion'))),
  nextCursor: NEXT_CURSOR,
});

export const ME = object({
  subject: described('The id of the principal.', text()),
  tenantId: optional(text()),
  appId: optional(text()),
  scopes: list(text({ examples: ['tasks:read'] })),
  isNamed: described('False: the request named no principal, and the service let it in as one of its own.', boolean()),
  may: described(
    'What follows from the scopes, for a console.',
    object({
      read: described('Its own tasks.', boolean()),
      write: described('Create, cancel and answer its own tasks.', boolean()),
      readAll: described('Tasks of all owners, and `/api/v1/system`.', boolean()),
      operate: described('Act on tasks of all owners, pause types, end streams.', boolean()),
      prioritise: boolean(),
    }),
  ),
});
export type Me = TypeOf<typeof ME>;

export const SYSTEM_WORKER = object({
  workerId: text(),
  version: optional(described('Of its program. Absent: it did not say.', text())),
  taskTypes: list(TASK_TYPE),
  features: list(text()),
  firstSeenAt: timestamp(),
  lastSeenAt: described('Its last claim, up to 30 s late. A busy worker claims nothing.', timestamp()),
  isLive: described('Whether it claimed within a minute, or holds a lease.', boolean()),
  leases: described('Tasks that it holds now.', integer(0)),
});
export const SYSTEM_WORKERS = object({
  items: described(
    'Remote workers seen within a day, by id.',
    list(named<TypeOf<typeof SYSTEM_WORKER>>('SystemWorker')),
  ),
  nextCursor: NEXT_CURSOR,
});

export const SYSTEM_REPLICA = object({
  replicaId: text({ format: 'uuid' }),
  build: text(),
  features: list(text()),
  startedAt: timestamp(),
  lastBeatAt: described('It beats every 5 s.', timestamp()),
  isLive: described('Whether it beat within 9 s.', boolean()),
  isReady: optional(described('At its last beat. Absent from builds that do not say it.', boolean())),
  streams: optional(described('Open streams at its last beat.', integer(0))),
  taskTypes: optional(described('What it executes itself.', list(TASK_TYPE))),
});
export const SYSTEM_REPLICAS = object({
  answeredBy: text({ format: 'uuid' }),
  items: described('Seen within a day, the newest first.', list(named<TypeOf<typeof SYSTEM_REPLICA>>('SystemReplica'))),
});

export const SYSTEM_STREAM = object({
  streamId: text({ format: 'uuid' }),
  replicaId: text({ format: 'uuid' }),
  transport: text({ examples: ['websocket', 'multiplex', 'sse', 'long_poll'] }),
  principalId: text(),
  tenantId: optional(text()),
  taskId: optional(described('The task that it follows.', TASK_UUID)),
  changesOf: optional(
    described(
      'Of a feed of changes: whose.',
      object({ ownerId: optional(text()), tenantId: optional(text()), all: optional(boolean()) }),
    ),
  ),
  cursor: optional(described('The last event that was sent, of a stream of a task.', HEAD_EVENT_ID)),
  lag: optional(described('Events of the task behind the cursor.', integer(0))),
  bufferedBytes: described(
    'Sent and not yet taken by the network; of all streams of a multiplexed connection.',
    integer(0),
  ),
  since: timestamp(),
});
export type SystemStream = TypeOf<typeof SYSTEM_STREAM>;
export const SYSTEM_STREAMS = object({
  answeredBy: text({ format: 'uuid' }),
  items: described(
    'Those of the replica that answers as they are now, those of others as of their last beat; the most buffered first.',
    list(named<SystemStream>('SystemStream')),
  ),
  replicas: list(
    object({
      replicaId: text({ format: 'uuid' }),
      open: described('Its open streams; `items` may have fewer.', integer(0)),
      seenAt: timestamp(),
    }),
  ),
});

export const STREAM_END = object({
  streamId: text({ format: 'uuid' }),
  status: described('`ENDING`: another replica ends it within 10 s.', oneOf('ENDED', 'ENDING')),
});

export const SYSTEM_SETTING = object({
  name: text({ examples: ['LEASE_SECONDS'] }),
  origin: described('`file`: by a variable with `_FILE`.', oneOf('default', 'environment', 'file')),
  isSet: described('Whether it has a value.', boolean()),
  isHidden: described('Whether its value may hold a secret: it is never shown.', boolean()),
  value: optional(described('As an operator writes it.', text())),
  meaning: text(),
});
export const SYSTEM_SETTINGS = object({
  replicaId: REPLICA,
  items: list(named<TypeOf<typeof SYSTEM_SETTING>>('SystemSetting')),
});

export const SYSTEM_READINESS = object({
  replicaId: REPLICA,
  status: oneOf('ready', 'not_ready'),
  details: described('By probe.', record(object({ status: text({ examples: ['ready'] }) }))),
});

export const SYSTEM_RETENTION = object({
  days: described(
    'After its end a task is due for removal. `RETENTION_DAYS` of the last run, else of this replica.',
    integer(0),
  ),
  lastRun: optional(
    described(
      'Absent: no run is known.',
      object({
        at: timestamp(),
        removedTasks: integer(0),
        removedAuditEntries: integer(0),
      }),
    ),
  ),
  overdue: object({
    tasks: described('Ended tasks that are due.', integer(0)),
    atLeast: described(`Whether there are more than ${MAX_COUNTED}.`, boolean()),
    oldestFinishedAt: optional(timestamp()),
  }),
});

const LATENCY = object({
  count: integer(0),
  p50Ms: described('As Prometheus estimates it from the buckets of the metric.', number(0, Number.MAX_SAFE_INTEGER)),
  p95Ms: number(0, Number.MAX_SAFE_INTEGER),
  p99Ms: number(0, Number.MAX_SAFE_INTEGER),
});
export type Latency = TypeOf<typeof LATENCY>;
const NUMBERS_POINT = object({
  at: timestamp(),
  tasks: optional(
    described(
      'Tasks of the installation that are not over; the count stops at 10000 in all. Absent while PostgreSQL does not answer.',
      object({
        waiting: integer(0),
        held: integer(0),
        running: integer(0),
        suspended: integer(0),
        aside: integer(0),
      }),
    ),
  ),
  streams: described('Open streams of this replica.', integer(0)),
  append: optional(described('Of this replica since the point before. Absent without any.', LATENCY)),
  delivery: optional(described('The same, from the commit of an event to a client.', LATENCY)),
});
export type NumbersPoint = TypeOf<typeof NUMBERS_POINT>;
export const SYSTEM_NUMBERS = object({
  replicaId: REPLICA,
  everySeconds: integer(1),
  points: described('The last quarter of an hour, oldest first.', list(NUMBERS_POINT)),
});

const LOG_LINE = object({
  at: timestamp(),
  level: text({ examples: ['info'] }),
  event: described('As `msg` in the log.', text({ examples: ['create_task.success'] })),
  correlationId: nullable(text()),
  fields: described('As in the log.', anyObject()),
});
export type LogLine = TypeOf<typeof LOG_LINE>;
export const SYSTEM_LOG = object({
  replicaId: REPLICA,
  lines: described('Ends of use-cases, oldest first. The replica keeps the last 1000.', list(LOG_LINE)),
  next: described('`after` of the next request.', text()),
});

export const TASK_TYPE_ENTRY = object({
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
  isHandledHere: described('Whether the replica that answers executes it itself.', boolean()),
  workers: described('Remote workers that take it, and live.', integer(0)),
  running: described('Tasks under a lease.', integer(0)),
  waiting: described('Tasks in the queue; all of them are held back by a pause.', integer(0)),
  held: described(
    'Tasks that a limit of the policy keeps out of the queue.',
    object({ concurrency: integer(0), rate: integer(0) }),
  ),
  atLeast: described('Whether a count stopped before its end.', boolean()),
});
export type TaskTypeEntry = TypeOf<typeof TASK_TYPE_ENTRY>;
export const TASK_TYPES = object({
  items: described('By name.', list(named<TaskTypeEntry>('TaskTypeEntry'))),
  nextCursor: NEXT_CURSOR,
});
