import {
  anyObject,
  described,
  integer,
  type JsonSchema,
  object,
  type ObjectOf,
  optional,
  text,
  type TypeOf,
} from './json-schema.js';

// What applies to all tasks of a type. Operators write it in a file, authors of handlers beside them, and workers in their claims.

const MOST_RUNNING = 1_000_000;
/** Ten years: more is no limit. */
const MOST_SECONDS = 315_360_000;

/** Where a key is: in the JSON of the input or of the metadata. */
const POLICY_POINTER = text({
  title: 'a JSON pointer that begins with /input/ or /metadata/',
  pattern: '^/(input|metadata)(/([^~/]|~[01])*)+$',
  maxLength: 256,
});

const seconds = () => integer(1, MOST_SECONDS);
const running = () => integer(1, MOST_RUNNING);

const BACKOFF = object({
  firstSeconds: described('The pause before the second attempt. Each further one is twice as long, ± 50 %.', seconds()),
  maxSeconds: described('The longest pause.', seconds()),
});
export type Backoff = TypeOf<typeof BACKOFF>;

const RATE_LIMIT = object({
  limit: described('Attempts that may begin in a period.', running()),
  periodSeconds: integer(1, 86_400),
  burst: optional(described('Attempts that may begin at once. Absent: `limit`.', running())),
  key: optional(described('Each value that is found there has a rate of its own.', POLICY_POINTER)),
});

export const POLICY_MEMBERS = {
  maxRunning: optional(described('Tasks of the type that run at a time, in all of the installation.', running())),
  maxRunningPerOwner: optional(described('The same, of each owner.', running())),
  concurrencyKey: optional(described('Tasks with the same value there share `maxRunningPerKey`.', POLICY_POINTER)),
  maxRunningPerKey: optional(
    described('Tasks that run at a time with one value of `concurrencyKey`. Absent: 1.', running()),
  ),
  rateLimit: optional(described('How fast attempts begin. What follows an answer is no new attempt.', RATE_LIMIT)),
  maxAttempts: optional(
    described('Attempts that may fail or be lost. Absent: `TASK_MAX_ATTEMPTS`.', integer(1, 1_000)),
  ),
  backoff: optional(described('The pauses between attempts. Absent: from 1 s to 10 s.', BACKOFF)),
  startToFinishSeconds: optional(
    described(
      'The time of one attempt, without the time in which it waits for an answer. Then it fails as `TIMED_OUT`.',
      seconds(),
    ),
  ),
  scheduleToStartSeconds: optional(
    described('From when the task may begin to its first attempt. Then it fails as `EXPIRED`.', seconds()),
  ),
  scheduleToFinishSeconds: optional(
    described('From when the task may begin to its end. Then it fails as `EXPIRED`.', seconds()),
  ),
  cancelGraceSeconds: optional(
    described('The time of a running task to obey a cancellation. Absent: `CANCEL_GRACE_SECONDS`.', integer(0, 86_400)),
  ),
  inputSchema: optional(described('A JSON Schema of `input`. Other inputs are refused with 422.', anyObject())),
  resultSchema: optional(described('A JSON Schema of results. Other results fail the attempt.', anyObject())),
};

export type TaskPolicy = ObjectOf<typeof POLICY_MEMBERS>;
export type PolicyMember = keyof typeof POLICY_MEMBERS;

/** Operators and authors of handlers may set every member. */
export const TASK_POLICY: JsonSchema = object(POLICY_MEMBERS);

const { backoff: _, ...WORKER_MEMBERS } = POLICY_MEMBERS;
/** A worker may only narrow. */
export const WORKER_POLICY: JsonSchema = object(WORKER_MEMBERS);
