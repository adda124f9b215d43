import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import fc from 'fast-check';
import pg from 'pg';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import { BACKOFF, decide } from '../../src/tasks/domain/decide.js';
import { claimBatch, type Slot } from '../../src/tasks/store/claim-batch.js';
import { lockTask } from '../../src/tasks/store/lock-tasks.js';
import type { TaskRecord } from '../../src/tasks/store/task-row.js';
import { uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const RULES = { backoff: BACKOFF, maxAttempts: 3, maxEventsPerTask: 9, jitter: 0, now: 0 };

let test: TestDatabase;
let database: Database;
let superuser: pg.Client;

beforeAll(async () => {
  test = await createTestDatabase();
  database = new Database(createPool(test.appUrl, { max: 4 }));
  superuser = new pg.Client({ connectionString: test.superuserUrl });
  await superuser.connect();
});

afterAll(async () => {
  await Promise.all([database.stop(), superuser.end()]);
  await test.drop();
});

/** A row as far as a claim depends on it; `flaw`: a second thing that holds it, so no log leads to it. */
interface Placed {
  readonly run: 'queued' | 'leased' | 'suspended' | 'over' | 'aside' | 'later' | 'held';
  readonly head: number;
  readonly attempt: number;
  readonly resuming: boolean;
  readonly hasSteps: boolean;
  readonly cancelling: boolean;
  readonly isFlawed: boolean;
  readonly hasPlace: boolean;
}

async function place(taskType: string, row: Placed): Promise<string> {
  const taskId = randomUUID();
  const isQueued = row.run === 'queued' || row.run === 'later';
  await superuser.query(
    `WITH log AS (
        INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
        SELECT $1::uuid, id, CASE WHEN id = 1 THEN 'TASK_STARTED' ELSE 'TASK_MESSAGE' END, '{}', gen_random_uuid(), 'placed'
        FROM generate_series(1, $3::int) AS id
      ), step AS (
        INSERT INTO taskbridge.entries_steps (task_id, step_key, result, event_id, attempt)
        SELECT $1::uuid, 'load', '1', 1, 1 WHERE $4::bool
      )
      INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, correlation_id,
        status, head_event_id, attempt, attempt_base, lease_number, batch_seq, resuming, cancel_requested_at, cancel_reason,
        claimable_at, vtime, lease_token, lease_expires_at, suspend_id, finished_at, aside_code, hold_key)
      VALUES ($1::uuid, '', 'owner', gen_random_uuid()::text, '', $2, gen_random_uuid(),
        CASE WHEN $5 = 'over' THEN 'COMPLETED' WHEN $3::int = 0 THEN 'ACCEPTED' ELSE 'RUNNING' END, $3::int, $6::int, least($3::int, 1),
        $6::int, 2, $7::bool, CASE WHEN $8::bool THEN now() END, CASE WHEN $8::bool THEN 'enough' END,
        CASE WHEN $9::bool THEN now() + CASE WHEN $5 = 'later' THEN interval '1 hour' ELSE interval '-1 s' END END,
        CASE WHEN $10::bool THEN 1 END, CASE WHEN $5 = 'leased' OR $11::bool THEN 'token' END,
        CASE WHEN $5 = 'leased' OR $11::bool THEN now() + interval '1 hour' END, CASE WHEN $5 = 'suspended' THEN 'question' END,
        CASE WHEN $5 = 'over' THEN now() END, CASE WHEN $5 = 'aside' THEN 'NOT_WRITABLE' END, CASE WHEN $5 = 'held' THEN 'full' END)`,
    [
      taskId,
      taskType,
      row.head,
      row.hasSteps,
      row.run,
      row.attempt,
      row.resuming,
      row.cancelling,
      isQueued,
      row.hasPlace,
      isQueued && row.isFlawed,
    ],
  );
  return taskId;
}

async function recordOf(taskId: string): Promise<TaskRecord> {
  const [record] = await lockTask(database, taskId);
  if (!record) throw new Error(`no task ${taskId}`);
  return record;
}

const placed = fc
  .record({
    run: fc.oneof(
      { weight: 5, arbitrary: fc.constant('queued' as const) },
      fc.constantFrom('leased', 'suspended', 'over', 'aside', 'later', 'held'),
    ),
    head: fc.nat(4),
    attempt: fc.integer({ min: 1, max: 3 }),
    resuming: fc.boolean(),
    hasSteps: fc.boolean(),
    cancelling: fc.boolean(),
    isFlawed: fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, fc.constant(true)),
    hasPlace: fc.oneof({ weight: 6, arbitrary: fc.constant(true) }, fc.constant(false)),
  })
  .map((row) =>
    // A task without an event was never claimed, and is in no other state.
    row.head > 0
      ? row
      : {
          ...row,
          attempt: 0,
          resuming: false,
          hasSteps: false,
          run: row.run === 'later' ? row.run : ('queued' as const),
        },
  );

it('claims exactly the tasks that wait, and changes each as `decide` says', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(placed, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      fc.boolean(),
      async (rows, steps, isLimited) => {
        const taskType = uniqueId('claims');
        const limits = isLimited ? { [taskType]: { type: 1_000, owner: 1_000, burst: 1_000, perSecond: 1 } } : null;
        const ids: string[] = [];
        for (const row of rows) ids.push(await place(taskType, row));
        const before = new Map<string, TaskRecord>();
        for (const taskId of ids) before.set(taskId, await recordOf(taskId));
        const slots = ids.map(
          (_, n): Slot => ({
            workerId: `w${n}`,
            principalId: `worker:w${n}`,
            secret: `secret-${n}`,
            leaseSeconds: 30,
          }),
        );
        const { tasks, events, unfit } = await claimBatch(
          database,
          { taskTypes: [taskType], idle: [0], steps, attemptSeconds: [null], limits },
          slots,
        );

        const isWanted = (row: Placed) => row.run === 'queued' && row.hasPlace && (steps || !row.hasSteps);
        const claimed = ids.filter((_, n) => isWanted(rows[n] as Placed) && rows[n]?.isFlawed === false);
        expect([...tasks.values()].map(({ identity }) => identity.taskId).toSorted()).toEqual(claimed.toSorted());
        expect(unfit.toSorted()).toEqual(
          ids.filter((_, n) => isWanted(rows[n] as Placed) && rows[n]?.isFlawed).toSorted(),
        );
        const begun: string[] = [];
        for (const [slot, { identity, token, ...task }] of tasks) {
          const record = before.get(identity.taskId);
          if (!record) throw new Error('a task of nobody');
          const decision = decide(record.task, { kind: 'claim', token }, RULES);
          const after = await recordOf(identity.taskId);
          expect(after.task).toEqual(decision.task);
          expect(after.flaw).toBeNull();
          expect(after.workerId).toBe(`w${slot}`);
          expect(token).toBe(`${decision.task.attempt}.secret-${slot}`);
          const { attempt, leaseNumber, headEventId, hasSteps, cancellation } = decision.task;
          expect(task).toMatchObject({
            attempt,
            leaseNumber,
            headEventId,
            hasSteps,
            cancellationRequested: cancellation !== null,
          });
          if (decision.events.length > 0) begun.push(identity.taskId);
        }
        expect(events.map(({ taskId, eventId, type }) => [taskId, eventId, type]).toSorted()).toEqual(
          begun.map((taskId) => [taskId, 1, 'TASK_STARTED']).toSorted(),
        );
        for (const taskId of ids.filter((id) => !claimed.includes(id))) {
          const { now: _now, ...same } = await recordOf(taskId);
          const { now: _then, ...was } = before.get(taskId) ?? { now: 0 };
          expect(same).toEqual(was);
        }
      },
    ),
    { numRuns: process.env['FULL'] === '1' ? 1_000 : 60 },
  );
});
