import { randomUUID } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import pg from 'pg';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import { BACKOFF, type Command, decide } from '../../src/tasks/domain/decide.js';
import { appendedEvent, messageEvent, stepEvent } from '../../src/tasks/domain/event-payloads.js';
import { isOver, type Task } from '../../src/tasks/domain/task.js';
import type { NewEvent } from '../../src/tasks/domain/task-event.js';
import { TaskBridgeError } from '../../src/errors.js';
import { appendBatch, type AppendOutcome, type AppendRequest } from '../../src/tasks/store/append-batch.js';
import { lockTask } from '../../src/tasks/store/lock-tasks.js';
import { readEvents } from '../../src/tasks/store/read-events.js';
import { renewLeases } from '../../src/tasks/store/renew-leases.js';
import { outputEvent, progressEvent } from '../support/events.js';
import { checkInvariants } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const LIMITS = { leaseSeconds: 30, maxEventsPerTask: 9 };
const TOKEN = 'held-token';

let test: TestDatabase;
let database: Database;
let superuser: pg.Client;
let intruder: pg.Client;

beforeAll(async () => {
  test = await createTestDatabase();
  database = new Database(createPool(test.appUrl, { max: 8 }));
  superuser = new pg.Client({ connectionString: test.superuserUrl });
  intruder = new pg.Client({ connectionString: test.superuserUrl });
  await Promise.all([superuser.connect(), intruder.connect()]);
});

afterAll(async () => {
  await Promise.all([database.stop(), superuser.end(), intruder.end()]);
  await test.drop();
});

/** A row of proj_tasks, as far as appends depend on it. Its log is made to fit. */
interface Placed {
  readonly taskId: string;
  readonly run: 'leased' | 'expired' | 'queued' | 'suspended' | 'over';
  readonly head: number;
  readonly batchSeq: number;
  readonly progress: number | null;
  readonly cancelling: boolean;
  readonly attempt: number;
  /** The event of its one finished step, `load`. */
  readonly stepAt: number | null;
  /** The key of its last event in this attempt, and in another one. */
  readonly keys: readonly [own: string | null, other: string | null];
  /** Whether somebody else is changing the task at this moment. */
  readonly locked: boolean;
}

const aTask = (overrides: Partial<Placed> = {}): Placed => ({
  taskId: randomUUID(),
  run: 'leased',
  head: 1,
  batchSeq: 0,
  progress: null,
  cancelling: false,
  attempt: 1,
  stepAt: null,
  keys: [null, null],
  locked: false,
  ...overrides,
});

const aRequest = (taskId: string, overrides: Partial<AppendRequest> = {}): AppendRequest => ({
  taskId,
  leaseToken: TOKEN,
  batchSeq: 1,
  events: [progressEvent(10)],
  principalId: 'worker',
  ...overrides,
});

async function place({ taskId, run, head, batchSeq, progress, attempt, ...more }: Placed): Promise<void> {
  const { cancelling, stepAt, keys } = more;
  const isOver = run === 'over';
  const isLeased = run === 'leased' || run === 'expired';
  await superuser.query({
    name: 'place-task',
    text: `WITH log AS (
        INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
        SELECT $1::uuid, id, CASE WHEN $2::bool AND id = $3 THEN 'TASK_COMPLETED' WHEN id = 1 THEN 'TASK_STARTED'
          ELSE 'TASK_MESSAGE' END, '{}', gen_random_uuid(), 'placed'
        FROM generate_series(1, $3::int) AS id
      ), step AS (
        INSERT INTO taskbridge.entries_steps (task_id, step_key, result, event_id, attempt)
        SELECT $1::uuid, 'load', '1', $12::int, 1 WHERE $12::int IS NOT NULL
      ), keyed AS (
        INSERT INTO taskbridge.entries_event_keys (task_id, attempt, event_key, event_id)
        SELECT $1::uuid, k.attempt, k.key, $3 FROM (VALUES ($6::int, $13::text), ($6::int + 1, $14::text)) AS k (attempt, key)
        WHERE k.key IS NOT NULL
      )
      INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type,
        correlation_id, status, head_event_id, batch_seq, progress, attempt, attempt_base, lease_number, cancel_requested_at,
        cancel_reason, claimable_at, lease_token, lease_expires_at, finished_at, suspend_id)
      VALUES ($1::uuid, '', 'owner', gen_random_uuid()::text, '', 'test', gen_random_uuid(),
        CASE WHEN $2::bool THEN 'COMPLETED' ELSE 'RUNNING' END, $3::int, $4::int, $5::float8, $6::int, coalesce($12::int, 1), $6::int,
        CASE WHEN $7::bool THEN now() END, CASE WHEN $7::bool THEN 'enough' END, CASE WHEN $8::bool THEN now() END,
        $9::text, now() + make_interval(secs => $10::int), CASE WHEN $2::bool THEN now() END, $11::text)`,
    values: [
      taskId,
      isOver,
      head,
      batchSeq,
      progress,
      attempt,
      cancelling,
      run === 'queued',
      isLeased ? TOKEN : null,
      isLeased ? (run === 'expired' ? -1 : 10) : null,
      run === 'suspended' ? 'question' : null,
      stepAt,
      ...keys,
    ],
  });
}

async function taskOf(taskId: string): Promise<Task> {
  const [record] = await lockTask(database, taskId);
  if (!record) throw new Error(`no task ${taskId}`);
  return record.task;
}

/** All that PostgreSQL has of a task, to compare before and after. */
async function everythingOf(taskId: string): Promise<unknown> {
  const { rows } = await superuser.query<{ row: unknown; log: unknown }>({
    name: 'everything',
    text: `SELECT to_jsonb(t) AS row, (SELECT jsonb_agg(s ORDER BY s.event_id) FROM taskbridge.entries_steps s
        WHERE s.task_id = t.task_id) AS steps, (SELECT jsonb_agg(k ORDER BY k.event_id, k.attempt)
        FROM taskbridge.entries_event_keys k WHERE k.task_id = t.task_id) AS keys, (SELECT jsonb_agg(e ORDER BY e.event_id) FROM taskbridge.events e
        WHERE e.task_id = t.task_id) AS log FROM taskbridge.proj_tasks t WHERE t.task_id = $1`,
    values: [taskId],
  });
  return rows[0];
}

function commandOf(task: Task, { keys }: Placed, request: AppendRequest): Command {
  const { leaseToken: token, batchSeq, events, step } = request;
  if (batchSeq === undefined) return { kind: 'append_keyed', token, events, storedKeys: new Set([keys[0] ?? '']) };
  if (!step) return { kind: 'append', token, batchSeq, events };
  const isStored = step.key === 'load' && task.hasSteps;
  return { kind: 'finish_step', token, batchSeq, key: step.key, isStored };
}

/** What `decide` says of the same append: the task with these events, or why not. */
function decided(task: Task, placed: Placed, request: AppendRequest): Task | 'refused' {
  try {
    const decision = decide(task, commandOf(task, placed, request), rules);
    // A repeated batch stores nothing, nor does a step that is stored; one that is too much stores another event than was asked for. Where
    // some keys are known, the statement leaves the others to `decide`.
    const isWhole = decision.events.length === request.events.length;
    return !isWhole || isOver(decision.task.status) ? 'refused' : decision.task;
  } catch (error) {
    if (error instanceof TaskBridgeError) return 'refused';
    throw error;
  }
}
const rules = { backoff: BACKOFF, maxAttempts: 3, maxEventsPerTask: LIMITS.maxEventsPerTask, jitter: 0, now: 0 };

const retryOf = (since: number) =>
  appendedEvent('TASK_STEP', { key: 'load', state: 'retrying', supersedesAfterEventId: String(since) }, 1);

const event: fc.Arbitrary<NewEvent> = fc.oneof(
  fc.integer({ min: 0, max: 100 }).map((progress) => progressEvent(progress)),
  fc.string({ unit: 'binary', maxLength: 8 }).map((text) => messageEvent(text)),
  fc.string({ unit: 'grapheme', maxLength: 8 }).map((text) => outputEvent('text', 'append', text, 1)),
);

/** Mostly tasks and requests that fit each other: of two things wrong at once only one is seen. */
const pair = fc
  .record({
    run: fc.oneof(
      { weight: 5, arbitrary: fc.constant('leased' as const) },
      fc.constantFrom('expired', 'queued', 'suspended', 'over'),
    ),
    head: fc.integer({ min: 1, max: LIMITS.maxEventsPerTask - 1 }),
    batchSeq: fc.nat(3),
    progress: fc.option(fc.nat(100)),
    cancelling: fc.boolean(),
    attempt: fc.integer({ min: 1, max: 3 }),
    locked: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, fc.constant(true)),
    rightToken: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, fc.constant(false)),
    seqOffset: fc.constantFrom(0, 0, 0, 0, -1, 1),
    events: fc.array(event, { minLength: 1, maxLength: 4 }),
    hasStep: fc.boolean(),
    finishes: fc.oneof(fc.constant(null), fc.constantFrom('load', 'draft', 'item#3@2')),
    voids: fc.oneof(fc.constant(null), fc.integer({ min: 1, max: LIMITS.maxEventsPerTask })),
    isKeyed: fc.boolean(),
    keys: fc.tuple(fc.constantFrom(null, 'b', 'z'), fc.constantFrom(null, 'a', 'b')),
  })
  .map(({ rightToken, seqOffset, events: said, hasStep, finishes, voids, isKeyed, ...row }) => {
    const stepAt = hasStep && row.head > 1 ? Math.ceil(row.head / 2) + 1 : null;
    const task = aTask({ ...row, stepAt } as Partial<Placed>);
    const leaseToken = rightToken ? TOKEN : 'stale-token';
    const retry = voids === null ? [] : [retryOf(voids)];
    const done = finishes !== null && { step: { key: finishes, resultJson: '{"a":[1]}' } };
    const events = finishes === null ? [...said, ...retry] : [stepEvent(finishes, task.attempt)];
    const batchSeq = task.batchSeq + 1 + seqOffset;
    if (isKeyed && finishes === null) {
      const keyed = events.map((event, i) => ({ ...event, key: 'abcde'[i] ?? '' }));
      const { batchSeq: _, ...request } = aRequest(task.taskId, { leaseToken, events: keyed });
      return { task, request };
    }
    return { task, request: aRequest(task.taskId, { leaseToken, batchSeq, events, ...done }) };
  });

interface Seen {
  readonly task: Placed;
  readonly request: AppendRequest;
  readonly before: Task;
  readonly stateBefore: unknown;
  readonly outcome: AppendOutcome;
}

/** Places the tasks, locks those that are to be, and appends to all of them in one batch. */
async function appendTo(pairs: readonly { task: Placed; request: AppendRequest }[]): Promise<Seen[]> {
  for (const { task } of pairs) await place(task);
  const before = await Promise.all(pairs.map(({ task }) => taskOf(task.taskId)));
  const stateBefore: unknown[] = [];
  for (const { task } of pairs) stateBefore.push(await everythingOf(task.taskId));
  const locked = pairs.filter(({ task }) => task.locked).map(({ task }) => task.taskId);
  await intruder.query('BEGIN');
  try {
    await intruder.query('SELECT FROM taskbridge.proj_tasks WHERE task_id = ANY ($1) FOR UPDATE', [locked]);
    const outcomes = await appendBatch(
      database,
      pairs.map(({ request }) => request),
      LIMITS,
    );
    return pairs.map((one, index) => ({
      ...one,
      before: before[index] as Task,
      stateBefore: stateBefore[index],
      outcome: outcomes[index] as AppendOutcome,
    }));
  } finally {
    await intruder.query('ROLLBACK');
  }
}

describe('A batch of appends', () => {
  /** Each check looks at every request of every batch; the batches are made anew for each. */
  function always(check: (seen: Seen) => void | Promise<void>): Promise<void> {
    const batches = fc.array(pair, { minLength: 1, maxLength: 5 });
    const property = fc.asyncProperty(batches, async (pairs) => {
      for (const seen of await appendTo(pairs)) await check(seen);
    });
    return fc.assert(property, { numRuns: 150 });
  }

  it('stores what decide stores, refuses what it refuses, and skips what somebody else has locked', () =>
    always(({ task, request, before, outcome }) => {
      const expected = task.locked ? 'locked' : decided(before, task, request) === 'refused' ? 'refused' : 'stored';
      expect(outcome.outcome).toBe(expected);
    }));

  it('leaves the task as decide leaves it', () =>
    always(async ({ task, request, before, outcome }) => {
      if (outcome.outcome === 'stored') expect(await taskOf(task.taskId)).toEqual(decided(before, task, request));
    }));

  it('stores the result of a step with its event', () =>
    always(async ({ request: { taskId, step }, outcome }) => {
      if (outcome.outcome !== 'stored' || !step) return;
      const { rows } = await superuser.query(
        'SELECT result::text AS result, event_id::int AS id FROM taskbridge.entries_steps WHERE task_id = $1 AND step_key = $2',
        [taskId, step.key],
      );
      expect(rows).toEqual([{ result: step.resultJson, id: outcome.events.at(-1)?.eventId }]);
    }));

  it('stores the keys of events with them, and no number', () =>
    always(async ({ request: { taskId, events, batchSeq }, outcome }) => {
      if (outcome.outcome !== 'stored' || batchSeq !== undefined) return;
      const { rows } = await superuser.query(
        `SELECT k.event_key AS key, k.event_id::int AS id FROM taskbridge.entries_event_keys k
         JOIN taskbridge.proj_tasks t USING (task_id, attempt) JOIN taskbridge.events e USING (task_id, event_id)
         WHERE task_id = $1 AND e.batch_seq IS NULL AND k.event_id = ANY ($2) ORDER BY 2`,
        [taskId, outcome.events.map(({ eventId }) => eventId)],
      );
      expect(rows).toEqual(events.map(({ key }, i) => ({ key, id: outcome.events[i]?.eventId })));
    }));

  it('changes nothing where it does not store', () =>
    always(async ({ task, stateBefore, outcome }) => {
      if (outcome.outcome !== 'stored') expect(await everythingOf(task.taskId)).toEqual(stateBefore);
    }));

  it('gives out the next ids, and answers the very events that readers are given', () =>
    always(async ({ task, request, before, outcome }) => {
      if (outcome.outcome !== 'stored') return;
      const read = await readEvents(database, task.taskId, before.headEventId, 100);
      expect(read.map(({ envelope }) => envelope)).toEqual(outcome.events.map(({ envelope }) => envelope));
      expect(read.map(({ eventId, type, payloadJson }) => ({ eventId, type, payloadJson }))).toEqual(
        request.events.map(({ type, json }, i) => ({ eventId: before.headEventId + 1 + i, type, payloadJson: json })),
      );
    }));

  it('says whether the task is to be cancelled', () =>
    always(({ task, outcome }) => {
      if (outcome.outcome === 'stored') expect(outcome.cancellationRequested).toBe(task.cancelling);
    }));

  it('makes the lease of those it stores last anew, and says until when', () =>
    always(async ({ task, outcome }) => {
      if (outcome.outcome !== 'stored') return;
      const { rows } = await superuser.query<{ until: string; left: number }>(
        `SELECT to_char(lease_expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS until,
          extract(epoch FROM lease_expires_at - now())::float8 AS left
         FROM taskbridge.proj_tasks WHERE task_id = $1`,
        [task.taskId],
      );
      expect(rows[0]?.until).toBe(outcome.leaseExpiresAt);
      // It was placed with ten seconds.
      expect(rows[0]?.left).toBeGreaterThan(20);
    }));

  it('writes beside each event under which attempt, lease and batch it came, from whom, and what caused it', async () => {
    const task = aTask({ attempt: 2, batchSeq: 4, head: 3 });
    await place(task);
    await appendBatch(database, [aRequest(task.taskId, { batchSeq: 5, principalId: 'worker-7' })], LIMITS);
    const { rows } = await superuser.query(
      `SELECT e.attempt, e.lease_number, e.batch_seq, e.principal_id, e.causation_id::int,
         e.correlation_id = t.correlation_id AS same_story
       FROM taskbridge.events e JOIN taskbridge.proj_tasks t USING (task_id) WHERE task_id = $1 AND event_id = 4`,
      [task.taskId],
    );
    expect(rows).toEqual([
      { attempt: 2, lease_number: 2, batch_seq: 5, principal_id: 'worker-7', causation_id: 1, same_story: true },
    ]);
  });

  it('stores for its neighbours while a row is held by somebody else, without waiting for it', async () => {
    const [held, free] = [aTask({ locked: true }), aTask()];
    // It answers while the lock is still held: `appendTo` lets go only after the answer.
    const seen = await appendTo([held, free].map((task) => ({ task, request: aRequest(task.taskId) })));
    expect(seen.map(({ outcome }) => outcome.outcome)).toEqual(['locked', 'stored']);
  });

  it('stores what decide stores, wherever a new try of a step begins to void', async () => {
    const head = Math.min(6, LIMITS.maxEventsPerTask - 2);
    const stepAt = 3;
    const tries = Array.from({ length: head + 2 }, (_, i) => i + 1).map((since) => {
      const task = aTask({ head, stepAt });
      return { since, task, request: aRequest(task.taskId, { events: [retryOf(since)] }) };
    });
    const seen = await appendTo(tries);
    const stored = tries.filter((_, i) => seen[i]?.outcome.outcome === 'stored').map(({ since }) => since);
    expect(stored).toEqual(
      tries
        .filter(
          (_, i) =>
            decided(seen[i]?.before as Task, tries[i]?.task as Placed, tries[i]?.request as AppendRequest) !==
            'refused',
        )
        .map(({ since }) => since),
    );
    expect(stored).toEqual([3, 4, 5, 6]);
  });

  it('refuses for a task that is not there, instead of asking for patience', async () => {
    const [outcome] = await appendBatch(database, [aRequest(randomUUID())], LIMITS);
    expect(outcome).toEqual({ outcome: 'refused' });
  });
});

describe('Batches at the same moment', () => {
  /** Says again what was locked, as the queue does. */
  async function insist(requests: readonly AppendRequest[]): Promise<AppendOutcome[]> {
    const outcomes: AppendOutcome[] = [
      ...(await appendBatch(database, requests, { ...LIMITS, maxEventsPerTask: 1_000 })),
    ];
    for (const [index, request] of requests.entries()) {
      while (outcomes[index]?.outcome === 'locked') {
        await turn();
        outcomes[index] = (await insist([request]))[0] as AppendOutcome;
      }
    }
    return outcomes;
  }

  it('store each number of a task once, with dense ids, while others change its row', async () => {
    // The tasks above need not make sense beyond what an append looks at; these do.
    await superuser.query('TRUNCATE taskbridge.proj_tasks, taskbridge.events');
    const tasks = Array.from({ length: 4 }, () => aTask());
    for (const task of tasks) await place(task);
    const held = tasks.map(({ taskId }) => ({ taskId, leaseToken: TOKEN }));
    for (let batchSeq = 1; batchSeq <= 25; batchSeq += 1) {
      const writers = Array.from({ length: 6 }, (_, writer) => {
        const events = Array.from({ length: 1 + (writer % 3) }, () => messageEvent(`writer ${writer}`));
        const requests = tasks.map(({ taskId }) => aRequest(taskId, { batchSeq, events }));
        return insist(writer % 2 ? requests : requests.reverse());
      });
      const [renewed, ...outcomes] = await Promise.all([renewLeases(database, held, 30), ...writers]);
      expect(renewed.map(({ outcome }) => outcome)).not.toContain('lost');
      const stored = outcomes.flat().filter(({ outcome }) => outcome === 'stored');
      expect(stored).toHaveLength(tasks.length);
    }
    await checkInvariants(test.superuserUrl);
  });
});
