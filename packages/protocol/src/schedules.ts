import { TASK_TYPE, TASK_UUID } from './ids.js';
import {
  anyObject,
  boolean,
  described,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  text,
  timestamp,
  type TypeOf,
} from './json-schema.js';

/** Request ids that begin with it are those of schedules. */
export const SCHEDULE_PREFIX = 'schedule:';

export const SCHEDULE_NAME = text({
  // Clients take `.` and `..` out of an address.
  title: '1 to 64 characters of A-Z a-z 0-9 . _ -, and the first is no dot',
  pattern: '^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$',
  examples: ['nightly-report'],
});
export const MAX_CRON_LENGTH = 100;
export const MAX_TIME_ZONE_LENGTH = 64;
export const MAX_CATCH_UP = 100;
/** The most schedules of an owner. */
export const MAX_SCHEDULES = 100;

/** What happens at a tick while the task of an earlier one is not over. */
export const OVERLAPS = ['skip', 'queue', 'cancel_previous'] as const;
export type Overlap = (typeof OVERLAPS)[number];

/** Why the last tick made no task. */
export const SKIPS = ['overlap', 'queued', 'missed', 'forbidden', 'unknown_type', 'invalid_input', 'no_room'] as const;
export type Skip = (typeof SKIPS)[number];

const CONTENT = {
  cron: described(
    'Minute, hour, day, month, day of the week.',
    text({ minLength: 1, maxLength: MAX_CRON_LENGTH, examples: ['30 2 * * *'] }),
  ),
  timeZone: described(
    'A time zone of IANA.',
    text({ minLength: 1, maxLength: MAX_TIME_ZONE_LENGTH, examples: ['Europe/Berlin'] }),
  ),
  taskType: TASK_TYPE,
};

export const PUT_SCHEDULE = object({
  ...CONTENT,
  input: optional(anyObject()),
  metadata: optional(anyObject()),
  overlap: optional(
    described('While the task of an earlier tick is not over.', { ...oneOf(...OVERLAPS), default: 'skip' }),
  ),
  catchUp: optional(
    described('Missed ticks that are made up, the newest of them.', { ...integer(0, MAX_CATCH_UP), default: 0 }),
  ),
  paused: optional(described('It keeps its place, and has no ticks.', { ...boolean(), default: false })),
});

export const SCHEDULE = object({
  name: SCHEDULE_NAME,
  ...CONTENT,
  input: anyObject(),
  metadata: anyObject(),
  overlap: oneOf(...OVERLAPS),
  catchUp: integer(0, MAX_CATCH_UP),
  paused: boolean(),
  nextAt: described('Null: there is none.', nullable(timestamp())),
  ticks: optional(described('In a list: the next times, at most 5, `nextAt` the first.', list(timestamp()))),
  ownerId: optional(described('In a list of schedules of others: whose it is.', text())),
  tenantId: optional(described('The same of its tenant. Absent without one.', text())),
  lastAt: optional(described('The last tick that made a task.', timestamp())),
  lastTaskId: optional(described('Its task, which may be gone.', TASK_UUID)),
  lastSkip: optional(
    described('Why the last tick made no task. Further values may come.', text({ examples: [...SKIPS] })),
  ),
  createdAt: timestamp(),
  updatedAt: timestamp(),
});
export type Schedule = TypeOf<typeof SCHEDULE>;

/** The `clientRequestId` of a tick. */
export const tickRequestId = (name: string, at: Date) => `${SCHEDULE_PREFIX}${name}:${at.toISOString()}`;
