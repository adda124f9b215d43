import { CLIENT_REQUEST_ID, SENT_TASK_ID, TASK_TYPE, TASK_UUID } from './ids.js';
import {
  boolean,
  described,
  integer,
  list,
  named,
  object,
  oneOf,
  optional,
  record,
  sentTimestamp,
  text,
  timestamp,
  type TypeOf,
} from './json-schema.js';
import { MAX_PRINCIPAL_LENGTH } from './limits.js';

export const BULK_KINDS = ['cancel', 'retry'] as const;
export type BulkKind = (typeof BULK_KINDS)[number];

export const MAX_BULK_IDS = 1_000;
export const MAX_BULK_TASKS = 10_000;
/** Tasks of a preview that its answer names. */
export const MAX_SHOWN_BULK_TASKS = 100;

/** What a bulk of a filter is about; those of another status are none of it. */
export const BULK_STATUSES = ['ACCEPTED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED'] as const;

export const BULK_FILTER = object({
  status: optional(oneOf(...BULK_STATUSES)),
  taskType: optional(TASK_TYPE),
  suspended: optional(described('Only tasks with, or without, an open question.', boolean())),
});

export const START_BULK = object({
  clientRequestId: optional(
    described('Of a run of `ids` or `filter`, where it is required. A repeat is the same bulk.', CLIENT_REQUEST_ID),
  ),
  ids: optional(described('These tasks.', list(SENT_TASK_ID, { minItems: 1, maxItems: MAX_BULK_IDS }))),
  filter: optional(
    described(
      'Instead of `ids`: the tasks that match. `{}` matches all.',
      named<TypeOf<typeof BULK_FILTER>>('BulkFilter'),
    ),
  ),
  createdBefore: optional(described('With `filter`. Absent: now.', sentTimestamp())),
  max: optional(described('With `filter`: the oldest of them.', { ...integer(1, MAX_BULK_TASKS), default: 1_000 })),
  owner: optional(
    described(
      'With `filter`: tasks of this principal. Needs `tasks:operate`.',
      text({ minLength: 1, maxLength: MAX_PRINCIPAL_LENGTH }),
    ),
  ),
  tenant: optional(described('With `owner`: its tenant.', text({ maxLength: MAX_PRINCIPAL_LENGTH }))),
  dryRun: optional(described('Shows what would be done, and does it not.', { ...boolean(), default: false })),
  bulkId: optional(described('Instead of `ids` and `filter`: runs what was shown.', TASK_UUID)),
});

export const BULK = object({
  bulkId: TASK_UUID,
  kind: oneOf(...BULK_KINDS),
  dryRun: boolean(),
  matched: described('How many tasks it is about.', integer(0)),
  outcomes: described('How many tasks came to what: done ones alone.', record(integer(0))),
  taskIds: optional(described(`Of a preview: the first ${MAX_SHOWN_BULK_TASKS} tasks.`, list(TASK_UUID))),
  createdAt: timestamp(),
  finishedAt: optional(described('When all were done.', timestamp())),
});
export type Bulk = TypeOf<typeof BULK>;
