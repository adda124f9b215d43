import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { type AttemptStopped, type TaskContext, TaskFailure, type TaskHandler } from '#handler/task-handler.js';
import { TaskExecutor } from '../../src/tasks/ports/task-executor.js';
import { AppendEvents } from '../../src/tasks/append-events.js';
import { CancelTask } from '../../src/tasks/cancel-task.js';
import { ClaimTasks } from '../../src/tasks/claim-tasks.js';
import type { Lease } from '../../src/tasks/domain/lease.js';
import type { Queryable } from '../../src/database/queryable.js';
import { LeaseLost } from '../../src/tasks/domain/tasks.errors.js';
import { EndAttempt, type Ending } from '../../src/tasks/end-attempt.js';
import { EndLostAttempts } from '../../src/tasks/end-lost-attempts.js';
import { lockTask, waitingTaskTypes } from '../../src/tasks/store/lock-tasks.js';
import { TaskWriter } from '../../src/tasks/task-writer.js';
import { progressEvent } from '../support/events.js';
import { checkInvariants } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy, type RoundTrip } from '../support/postgres-proxy.js';
import { createReplica, OWNER, type Replica, type ReplicaOptions, waitingTask } from '../support/replica.js';
import { eventually } from '../support/service.js';

const TYPE = 'test.work';

let test: TestDatabase;
let superuser: pg.Client;
const replicas: Replica[] = [];

beforeAll(async () => {
  test = await createTestDatabase();
  superuser = new pg.Client({ connectionString: test.superuserUrl });
  await superuser.connect();
});

beforeEach(async () => {
  await superuser.query('TRUNCATE taskbridge.events, taskbridge.proj_tasks');
});

/** After every test: the log is whole, and the row agrees with the log. */
afterEach(async () => {
  await Promise.all(replicas.splice(0).map((replica) => replica.stop()));
  await checkInvariants(test.superuserUrl);
});

afterAll(async () => {
  await superuser.end();
  await test.drop();
});

/** A replica that runs `handler` for the one type of task there is. */
async function workerWith(handler: TaskHandler, options: ReplicaOptions & { url?: string } = {}): Promise<Replica> {
  const replica = await createReplica(options.url ?? test.appUrl, { ...options, handlers: { [TYPE]: handler } });
  replicas.push(replica);
  replica.startWorker();
  return replica;
}

/** A replica that runs nothing of itself: for a test that plays the worker. */
async function idleReplica(options: ReplicaOptions = {}): Promise<Replica> {
  const replica = await createReplica(test.appUrl, options);
  replicas.push(replica);
  return replica;
}

/** A task for the worker of `replica`, which hears of it at once. */
async function task(replica: Replica): Promise<string> {
  const taskId = await waitingTask(replica.database, TYPE);
  replica.get(TaskExecutor).submitted({ taskId, taskType: TYPE });
  return taskId;
}

async function claimed(replica: Replica): Promise<Lease> {
  const [lease] = await replica.get(ClaimTasks).execute({ workerId: 'worker', principalId: 'worker' }, [TYPE], 1);
  if (!lease) throw new Error('nothing can be claimed');
  return lease;
}

interface Row {
  readonly status: string;
  readonly attempt: number;
  readonly spent_attempts: number;
  readonly head_event_id: string;
  readonly backoff_ms: number | null;
  readonly claimable_at: string | null;
  readonly leased: boolean;
}

async function rowOf(taskId: string): Promise<Row> {
  const { rows } = await superuser.query<Row>(
    `SELECT status, attempt, spent_attempts, head_event_id, lease_token IS NOT NULL AS leased,
       extract(epoch FROM claimable_at - updated_at)::float8 * 1000 AS backoff_ms,
       to_char(claimable_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS claimable_at
     FROM taskbridge.proj_tasks WHERE task_id = $1`,
    [taskId],
  );
  return rows[0] as Row;
}

interface LoggedEvent {
  readonly type: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

async function logOf(taskId: string): Promise<LoggedEvent[]> {
  const { rows } = await superuser.query<LoggedEvent>(
    'SELECT type, payload FROM taskbridge.events WHERE task_id = $1 ORDER BY event_id',
    [taskId],
  );
  return rows;
}

const typesOf = async (taskId: string) => (await logOf(taskId)).map(({ type }) => type);

/** Resolves with the terminal event. */
async function ended(taskId: string): Promise<LoggedEvent> {
  await eventually(`task ${taskId} ends`, async () => !['ACCEPTED', 'RUNNING'].includes((await rowOf(taskId)).status));
  return (await logOf(taskId)).at(-1) as LoggedEvent;
}

/** Advances time: the backoff, the lease and the grace period end. */
async function passBackoff(taskId: string, replica: Replica): Promise<void> {
  const sql = 'UPDATE taskbridge.proj_tasks SET claimable_at = now() WHERE task_id = $1 AND claimable_at IS NOT NULL';
  await superuser.query(sql, [taskId]);
  replica.get(TaskExecutor).submitted({ taskId, taskType: TYPE });
}
async function passLease(taskId: string): Promise<void> {
  const sql = "UPDATE taskbridge.proj_tasks SET lease_expires_at = now() - interval '1 s' WHERE task_id = $1";
  await superuser.query(sql, [taskId]);
}
async function passGrace(taskId: string): Promise<void> {
  const sql = "UPDATE taskbridge.proj_tasks SET cancel_requested_at = now() - interval '1 h' WHERE task_id = $1";
  await superuser.query(sql, [taskId]);
}

/** A handler that does nothing until it is let go, and a promise for each time it begins. */
class Gate {
  readonly begun = Promise.withResolvers<TaskContext>();
  readonly opened = Promise.withResolvers<void>();
  /** Goes on when the gate opens, whatever the signal says. */
  readonly deaf: TaskHandler = async (_input, context) => {
    this.begun.resolve(context);
    await this.opened.promise;
    return 'went through';
  };
  /** Goes on when the gate opens, and ends with its signal. */
  readonly obedient: TaskHandler = async (_input, context) => {
    this.begun.resolve(context);
    const { promise: stopped, reject } = Promise.withResolvers<never>();
    context.signal.addEventListener('abort', () => reject(context.signal.reason as Error));
    await Promise.race([this.opened.promise, stopped]);
    return 'went through';
  };
}

const cancel = (taskId: string, replica: Replica) => replica.get(CancelTask).execute(OWNER, taskId);

const why = (context: TaskContext) => (context.signal.reason as AttemptStopped | undefined)?.why;

describe('A handler', () => {
  it('is given its task, and what it returns becomes the result', async () => {
    const replica = await workerWith((input, { taskType, attempt }) => ({ input, taskType, attempt }));
    const taskId = await task(replica);
    expect((await ended(taskId)).payload).toEqual({ result: { input: {}, taskType: TYPE, attempt: 1 } });
  });

  it('that throws is run again until no attempt is left, and then its task has failed', async () => {
    const attempts: number[] = [];
    const replica = await workerWith((_input, { attempt }) => {
      attempts.push(attempt);
      throw new Error('the password is 1234');
    });
    const taskId = await task(replica);
    for (const spent of [1, 2]) {
      await eventually(`${spent} attempts are spent`, async () => (await rowOf(taskId)).spent_attempts === spent);
      await passBackoff(taskId, replica);
    }
    await ended(taskId);
    expect(attempts).toEqual([1, 2, 3]);
    expect(await logOf(taskId)).toEqual([
      { type: 'TASK_STARTED', payload: {} },
      {
        type: 'TASK_RETRYING',
        payload: { attempt: 2, reason: 'HANDLER_ERROR', supersedesAfterEventId: '1', notBefore: expect.any(String) },
      },
      {
        type: 'TASK_RETRYING',
        payload: { attempt: 3, reason: 'HANDLER_ERROR', supersedesAfterEventId: '2', notBefore: expect.any(String) },
      },
      {
        type: 'TASK_FAILED',
        payload: {
          code: 'HANDLER_ERROR',
          message: expect.stringMatching(/^The handler threw Error: the password is 1234, at /),
          retryable: true,
        },
      },
    ]);
  });

  it('that throws has a line in the log', async () => {
    const replica = await workerWith(() => {
      throw new RangeError('out of range');
    });
    const taskId = await task(replica);
    await eventually('it has failed', async () => (await rowOf(taskId)).spent_attempts === 1);
    const told = replica.log.filter(({ msg }) => msg === 'handler.failed');
    expect(told).toEqual([expect.objectContaining({ taskId, err: expect.objectContaining({ type: 'RangeError' }) })]);
  });

  it('that throws is run again after a backoff that doubles', async () => {
    const replica = await workerWith(() => {
      throw new Error('not now');
    });
    const taskId = await task(replica);
    const backoffs: number[] = [];
    for (const spent of [1, 2]) {
      await eventually(`${spent} attempts are spent`, async () => (await rowOf(taskId)).spent_attempts === spent);
      backoffs.push((await rowOf(taskId)).backoff_ms ?? 0);
      await passBackoff(taskId, replica);
    }
    await ended(taskId);
    const [first = 0, second = 0] = backoffs;
    expect([first >= 500, first <= 1_500, second >= 1_000, second <= 3_000]).toEqual([true, true, true, true]);
  });

  it('that fails for good fails its task at once, in its own words', async () => {
    const replica = await workerWith(() => {
      throw new TaskFailure('NO_SUCH_CITY', 'There is no such city.');
    });
    const taskId = await task(replica);
    const { payload } = await ended(taskId);
    expect(payload).toEqual({ code: 'NO_SUCH_CITY', message: 'There is no such city.', retryable: false });
    expect((await rowOf(taskId)).attempt).toBe(1);
  });

  it('that fails for now is run again when it asked to be, and fails in its own words at last', async () => {
    const replica = await workerWith(
      () => {
        throw new TaskFailure('BUSY', 'Come back.', { retryable: true, retryAfterMs: 0 });
      },
      { env: { TASK_MAX_ATTEMPTS: '2' } },
    );
    const taskId = await task(replica);
    expect((await ended(taskId)).payload).toEqual({ code: 'BUSY', message: 'Come back.', retryable: true });
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_RETRYING', 'TASK_FAILED']);
  });

  it.each([
    ['in a fraction of a millisecond', 60_000.4, 60],
    ['before now', -60_000, 0],
    ['after a century', 3e12, 24 * 60 * 60],
  ])('that asks to be run again %s is run again at the nearest time that there is', async (_, asked, seconds) => {
    const replica = await idleReplica({
      handlers: {
        [TYPE]: () => {
          throw new TaskFailure('BUSY', 'Come back.', { retryable: true, retryAfterMs: asked });
        },
      },
    });
    const taskId = await task(replica);
    replica.startWorker();
    const failed = await eventually('it has failed', async () => {
      const row = await rowOf(taskId);
      return row.spent_attempts > 0 && row;
    });
    expect((failed.backoff_ms ?? 0) / 1_000).toBeCloseTo(seconds, 0);
  });

  it('that asks to be run again after a time that is no number is run again after the usual backoff', async () => {
    const replica = await workerWith(() => {
      throw new TaskFailure('BUSY', 'Come back.', { retryable: true, retryAfterMs: Number.NaN });
    });
    const taskId = await task(replica);
    await eventually('it has failed', async () => (await rowOf(taskId)).spent_attempts === 1);
    expect((await rowOf(taskId)).backoff_ms).toBeGreaterThanOrEqual(500);
  });

  it('that fails with more than a failure may say says as much as it may', async () => {
    const replica = await workerWith(() => {
      throw new TaskFailure('C'.repeat(1_000), 'm'.repeat(100_000));
    });
    const taskId = await task(replica);
    const { payload } = await ended(taskId);
    expect(payload).toEqual({ code: 'C'.repeat(255), message: 'm'.repeat(8_192), retryable: false });
  });

  it('that returns more than a result may have fails its task for good', async () => {
    const replica = await workerWith(() => 'x'.repeat(1024 * 1024));
    const taskId = await task(replica);
    expect((await ended(taskId)).payload).toMatchObject({ code: 'RESULT_TOO_LARGE', retryable: false });
  });

  it.each([
    ['undefined', undefined],
    ['a function', () => 1],
  ])('that returns %s has null for a result', async (_, result) => {
    const replica = await workerWith(() => result);
    const taskId = await task(replica);
    expect((await ended(taskId)).payload).toEqual({ result: null });
  });

  it.each([
    ['U+0000', { text: 'a\u0000b' }],
    ['half a character', { text: 'cut \ud83d' }],
    ['what is no JSON', { n: Object(1n) }],
  ])('that returns %s fails its task for good, and the log says so', async (_, result) => {
    const replica = await workerWith(() => result);
    const taskId = await task(replica);
    expect((await ended(taskId)).payload).toMatchObject({ code: 'RESULT_NOT_STORABLE', retryable: false });
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_FAILED']);
    expect(replica.log.filter(({ msg }) => msg === 'handler.refused')).toEqual([expect.objectContaining({ taskId })]);
  });
});

describe('The events of a handler', () => {
  it('are stored in their order before the terminal one, though nobody waits for them', async () => {
    const replica = await workerWith((_input, { progress }) => {
      for (let sent = 1; sent <= 700; sent += 1) void progress(sent / 7);
    });
    const taskId = await task(replica);
    await ended(taskId);
    const log = await logOf(taskId);
    expect(log.slice(1, -1).map(({ payload }) => payload['progress'])).toEqual(
      Array.from({ length: 700 }, (_, index) => (index + 1) / 7),
    );
    expect(log.at(-1)?.type).toBe('TASK_COMPLETED');
  });

  it('are stored when their promises say so', async () => {
    const seen: number[] = [];
    const replica = await workerWith(async (_input, { taskId, message, output, progress }) => {
      for (const send of [() => message('m'), () => progress(1)]) {
        await send();
        seen.push((await logOf(taskId)).length);
      }
      await output('o');
      await message('after it');
      seen.push((await logOf(taskId)).length);
    });
    await ended(await task(replica));
    expect(seen).toEqual([2, 3, 5]);
  });

  it('are refused one by one when they are too large', async () => {
    const outcomes: string[] = [];
    const replica = await workerWith(
      async (_input, { message }) => {
        const sent = await Promise.allSettled([message('before'), message('x'.repeat(2_000)), message('after')]);
        outcomes.push(...sent.map(({ status }) => status));
      },
      { env: { MAX_EVENT_PAYLOAD_BYTES: '1000' } },
    );
    const taskId = await task(replica);
    await ended(taskId);
    expect(outcomes).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((await logOf(taskId)).map(({ payload }) => payload['message'])).toEqual([
      undefined,
      'before',
      'after',
      undefined,
    ]);
  });

  it('that are refused while nobody waits for them end no process, but their task', async () => {
    const replica = await workerWith(
      async (_input, { message, progress }) => {
        void message('x'.repeat(2_000));
        void progress(1_000);
        await message('fine');
      },
      { env: { MAX_EVENT_PAYLOAD_BYTES: '1000' } },
    );
    const taskId = await task(replica);
    await ended(taskId);
    // A rejection that nobody handles would end the process; Jest lets the test fail of it.
    await turn();
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_MESSAGE', 'TASK_FAILED']);
    expect((await logOf(taskId)).at(-1)?.payload).toMatchObject({ code: 'EVENT_REFUSED', retryable: false });
    const told = replica.log.filter(({ msg }) => msg === 'handler.refused');
    expect(told).toEqual([
      expect.objectContaining({ taskId, err: expect.objectContaining({ message: expect.stringContaining('1 more') }) }),
    ]);
  });

  it('end the task when there are more of them than it may have', async () => {
    const stopped = Promise.withResolvers<TaskContext>();
    const replica = await workerWith(
      async (_input, context) => {
        try {
          for (;;) await context.progress(1);
        } finally {
          stopped.resolve(context);
        }
      },
      { env: { MAX_EVENTS_PER_TASK: '10' } },
    );
    const taskId = await task(replica);
    expect((await ended(taskId)).payload).toMatchObject({ code: 'EVENT_LIMIT_EXCEEDED', retryable: false });
    expect(await typesOf(taskId)).toHaveLength(10);
    expect(why(await stopped.promise)).toBe('lease_lost');
  });
});

describe('Two workers', () => {
  it('never have one task at a time, also while one of them hands back what it runs', async () => {
    const running = new Map<string, number>();
    const together: string[] = [];
    const handler: TaskHandler = async (_input, { taskId, progress, signal }) => {
      running.set(taskId, (running.get(taskId) ?? 0) + 1);
      if ((running.get(taskId) ?? 0) > 1) together.push(taskId);
      try {
        for (let step = 1; step <= 4; step += 1) {
          await progress(step * 25);
          signal.throwIfAborted();
        }
      } finally {
        running.set(taskId, (running.get(taskId) ?? 0) - 1);
      }
    };
    const idle = await idleReplica();
    const taskIds = await Promise.all(Array.from({ length: 50 }, () => waitingTask(idle.database, TYPE)));
    // They were tried before: the claim of a first attempt stores an event, whose id alone keeps a second one away.
    const tried = await idle.get(ClaimTasks).execute({ workerId: 'idle', principalId: 'idle' }, [TYPE], 50);
    for (const { identity, token } of tried) {
      await idle.get(EndAttempt).execute(identity.taskId, { kind: 'release', token }, {});
    }
    const env = { INLINE_CONCURRENCY: '10' };
    const [first, second] = await Promise.all([workerWith(handler, { env }), workerWith(handler, { env })]);
    await eventually('some are done', async () => (await completedOf(taskIds)) > 10);
    await first.stopWorker();
    second.get(TaskExecutor).submitted({ taskId: '', taskType: TYPE });
    await eventually('all are done', async () => (await completedOf(taskIds)) === 50);
    expect(together).toEqual([]);
  });

  async function completedOf(taskIds: readonly string[]): Promise<number> {
    const sql = "SELECT 1 FROM taskbridge.proj_tasks WHERE task_id = ANY ($1) AND status = 'COMPLETED'";
    return (await superuser.query(sql, [taskIds])).rowCount ?? 0;
  }
});

describe('A cancellation', () => {
  /** Milliseconds from the request to the signal, in the middle of several: one of them may meet a busy machine. */
  async function medianDelay(canceller: () => Promise<Replica>): Promise<number> {
    const started: Promise<{ taskId: string; at: Promise<number> }>[] = [];
    const begun: ((context: TaskContext) => void)[] = [];
    const replica = await workerWith(async (_input, context) => {
      begun.pop()?.(context);
      await new Promise((_, reject) => context.signal.addEventListener('abort', reject));
    });
    const other = await canceller();
    for (let n = 0; n < 7; n += 1) {
      const { promise, resolve } = Promise.withResolvers<TaskContext>();
      begun.push(resolve);
      started.push(
        promise.then(({ taskId, signal }) => {
          const at = new Promise<number>((done) => signal.addEventListener('abort', () => done(performance.now())));
          return { taskId, at };
        }),
      );
      await task(replica);
    }
    const delays = [];
    for (const { taskId, at } of await Promise.all(started)) {
      const askedAt = performance.now();
      await cancel(taskId, other);
      delays.push((await at) - askedAt);
    }
    return delays.sort((a, b) => a - b)[3] as number;
  }

  it('reaches the handler within 200 ms on the same instance', async () => {
    expect(await medianDelay(async () => replicas[0] as Replica)).toBeLessThan(200);
  });

  it('reaches the handler within 200 ms from another instance', async () => {
    expect(await medianDelay(() => idleReplica())).toBeLessThan(200);
  });

  it('ends the task when its handler obeys', async () => {
    const gate = new Gate();
    const replica = await workerWith(gate.obedient);
    const taskId = await task(replica);
    await gate.begun.promise;
    await cancel(taskId, replica);
    expect(await ended(taskId)).toEqual({ type: 'TASK_CANCELLED', payload: { reason: 'cancelled_by_user' } });
  });

  it('leaves a result to a handler that was done all the same', async () => {
    const gate = new Gate();
    const replica = await workerWith(gate.deaf);
    const taskId = await task(replica);
    await gate.begun.promise;
    await cancel(taskId, replica);
    gate.opened.resolve();
    expect(await ended(taskId)).toEqual({ type: 'TASK_COMPLETED', payload: { result: 'went through' } });
  });

  it('ends a task that waits for its next attempt at once', async () => {
    const replica = await idleReplica();
    const taskId = await waitingTask(replica.database, TYPE);
    const { token } = await claimed(replica);
    const failure: Ending = { kind: 'fail', token, code: 'BUSY', message: 'Later.', retryable: true };
    await replica.get(EndAttempt).execute(taskId, failure, {});
    await cancel(taskId, replica);
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_RETRYING', 'TASK_CANCELLED']);
  });

  it('is forced when the grace period is over, and not before', async () => {
    const gate = new Gate();
    const replica = await workerWith(gate.deaf);
    const taskId = await task(replica);
    const context = await gate.begun.promise;
    await cancel(taskId, replica);
    await replica.get(EndLostAttempts).execute();
    const before = await typesOf(taskId);
    await passGrace(taskId);
    await replica.get(EndLostAttempts).execute();
    expect(before).toEqual(['TASK_STARTED']);
    expect((await logOf(taskId)).slice(1)).toEqual([
      { type: 'TASK_CANCELLED', payload: { reason: 'cancelled_by_user', message: 'CANCEL_FORCED' } },
    ]);
    await expect(context.progress(50)).rejects.toBeDefined();
    gate.opened.resolve();
  });

  it('leaves no second attempt to a handler that throws', async () => {
    const gate = new Gate();
    const replica = await workerWith(async (input, context) => {
      await gate.deaf(input, context);
      throw new Error('after all');
    });
    const taskId = await task(replica);
    await gate.begun.promise;
    await cancel(taskId, replica);
    gate.opened.resolve();
    await ended(taskId);
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_CANCELLED']);
  });
});

describe('A task that waits', () => {
  it('may be claimed from the very moment at which it is accepted', async () => {
    const { database } = await idleReplica();
    for (let n = 0; n < 60; n += 1) {
      // One transaction does both, so nearly no time passes.
      const [accepted, waiting] = await database.transaction(async (tx) => [
        await waitingTask(tx, TYPE),
        await waitingTaskTypes(tx, [TYPE]),
      ]);
      expect(waiting).toEqual([TYPE]);
      await superuser.query('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [accepted]);
    }
  });

  it('may be claimed from the very moment at which it is released', async () => {
    const replica = await idleReplica();
    const taskId = await waitingTask(replica.database, TYPE);
    for (let n = 0; n < 60; n += 1) {
      const { token } = await claimed(replica);
      const waiting: string[] = [];
      const look = async (tx: Queryable) => void waiting.push(...(await waitingTaskTypes(tx, [TYPE])));
      const release = { kind: 'release', token } as const;
      await replica.get(TaskWriter).write(
        (tx) => lockTask(tx, taskId),
        () => release,
        {},
        look,
      );
      expect(waiting).toEqual([TYPE]);
    }
  });
});

describe('A lease that expires', () => {
  it('makes room for a new attempt, after a backoff', async () => {
    const replica = await idleReplica();
    const taskId = await waitingTask(replica.database, TYPE);
    await claimed(replica);
    await passLease(taskId);
    await replica.get(EndLostAttempts).execute();
    expect((await logOf(taskId)).at(-1)).toEqual({
      type: 'TASK_RETRYING',
      payload: { attempt: 2, reason: 'lease_expired', supersedesAfterEventId: '1', notBefore: expect.any(String) },
    });
    const { backoff_ms: backoffMs, claimable_at: claimableAt } = await rowOf(taskId);
    expect(backoffMs).toBeGreaterThanOrEqual(500);
    expect((await logOf(taskId)).at(-1)?.payload).toMatchObject({ notBefore: claimableAt });
    await passBackoff(taskId, replica);
    expect((await claimed(replica)).attempt).toBe(2);
  });

  it('is left alone as long as it lasts', async () => {
    const replica = await idleReplica();
    const taskId = await waitingTask(replica.database, TYPE);
    await claimed(replica);
    expect(await replica.get(EndLostAttempts).execute()).toEqual([]);
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED']);
  });

  it('ends the task as STALLED when no attempt is left', async () => {
    const replica = await idleReplica();
    const taskId = await waitingTask(replica.database, TYPE);
    for (const attempt of [1, 2, 3]) {
      expect((await claimed(replica)).attempt).toBe(attempt);
      await passLease(taskId);
      await replica.get(EndLostAttempts).execute();
      await passBackoff(taskId, replica);
    }
    expect((await logOf(taskId)).at(-1)).toMatchObject({ type: 'TASK_FAILED', payload: { code: 'STALLED' } });
  });

  it('stops the handler that had it', async () => {
    const gate = new Gate();
    const replica = await workerWith(gate.deaf);
    const taskId = await task(replica);
    const context = await gate.begun.promise;
    const stopped = new Promise((resolve) => context.signal.addEventListener('abort', resolve));
    await passLease(taskId);
    await replica.get(EndLostAttempts).execute();
    await stopped;
    expect(why(context)).toBe('lease_lost');
    gate.opened.resolve();
  });

  it('unseen by others is renewed by its holder, and what was refused meanwhile is stored under the same number', async () => {
    const gate = new Gate();
    const replica = await workerWith(async (input, context) => {
      await gate.obedient(input, context);
      await passLease(context.taskId);
      await context.progress(50);
      await context.progress(60);
      await passLease(context.taskId);
      return 'done';
    });
    const taskId = await task(replica);
    await gate.begun.promise;
    gate.opened.resolve();
    await ended(taskId);
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_PROGRESS', 'TASK_PROGRESS', 'TASK_COMPLETED']);
    expect((await rowOf(taskId)).spent_attempts).toBe(0);
  });

  it('is not what happens to a handler that runs for longer than it', async () => {
    const gate = new Gate();
    const replica = await workerWith(gate.obedient, { env: { LEASE_SECONDS: '1' } });
    const taskId = await task(replica);
    await gate.begun.promise;
    const { rows } = await superuser.query(
      'SELECT lease_expires_at AS t FROM taskbridge.proj_tasks WHERE task_id = $1',
      [taskId],
    );
    const firstEnd = (rows[0] as { t: Date }).t.getTime();
    await eventually('the first lease would be over', () => Date.now() > firstEnd + 100);
    await replica.get(EndLostAttempts).execute();
    gate.opened.resolve();
    await ended(taskId);
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_COMPLETED']);
  });

  const LATE_ENDINGS: readonly ((token: string) => Ending)[] = [
    (token) => ({ kind: 'complete', token, result: 'late' }),
    (token) => ({ kind: 'fail', token, code: 'LATE', message: 'Late.', retryable: false }),
    (token) => ({ kind: 'fail', token, code: 'LATE', message: 'Late.', retryable: true }),
    (token) => ({ kind: 'confirm_cancellation', token }),
    (token) => ({ kind: 'release', token }),
  ];

  it.each(['expired, and nobody has noticed', 'lost to another attempt'] as const)(
    'lets nothing of its holder be stored when it is %s',
    async (state) => {
      const replica = await idleReplica();
      const taskId = await waitingTask(replica.database, TYPE);
      const { token } = await claimed(replica);
      await passLease(taskId);
      if (state === 'lost to another attempt') {
        await replica.get(EndLostAttempts).execute();
        await passBackoff(taskId, replica);
        await claimed(replica);
      }
      const before = [await rowOf(taskId), await logOf(taskId)];
      const append = { taskId, leaseToken: token, batchSeq: 1, events: [progressEvent(99)], principalId: 'late' };
      await expect(replica.get(AppendEvents).execute(append)).rejects.toThrow(LeaseLost);
      for (const ending of LATE_ENDINGS) {
        await expect(replica.get(EndAttempt).execute(taskId, ending(token), {})).rejects.toThrow(LeaseLost);
      }
      expect([await rowOf(taskId), await logOf(taskId)]).toEqual(before);
    },
  );
});

describe('A worker that stops', () => {
  it('hands back what it runs: claimable at once, not counted, and announced as released', async () => {
    const gate = new Gate();
    const [replica, other] = [await workerWith(gate.obedient), await idleReplica()];
    const taskId = await task(replica);
    const context = await gate.begun.promise;
    await replica.stopWorker();
    expect(why(context)).toBe('released');
    expect((await logOf(taskId)).at(-1)).toEqual({
      type: 'TASK_RETRYING',
      payload: { attempt: 2, reason: 'released', supersedesAfterEventId: '1', notBefore: expect.any(String) },
    });
    expect((await rowOf(taskId)).spent_attempts).toBe(0);
    expect((await claimed(other)).attempt).toBe(2);
  });

  it('hands back what it runs, also under a handler that does not obey', async () => {
    const gate = new Gate();
    const replica = await workerWith(gate.deaf);
    const taskId = await task(replica);
    await gate.begun.promise;
    await replica.stopWorker(50);
    expect((await logOf(taskId)).at(-1)).toMatchObject({ type: 'TASK_RETRYING', payload: { reason: 'released' } });
    gate.opened.resolve();
  });

  it('claims nothing more', async () => {
    const replica = await workerWith(() => 'done');
    await replica.stopWorker();
    const taskId = await task(replica);
    await turn();
    expect(await typesOf(taskId)).toEqual([]);
  });
});

describe('Ends that race', () => {
  it('leave one terminal event, in either order', async () => {
    const replica = await idleReplica({ env: { CANCEL_GRACE_SECONDS: '0', DATABASE_POOL_MAX: '20' } });
    const [endAttempt, endLost] = [replica.get(EndAttempt), replica.get(EndLostAttempts)];
    for (let round = 0; round < 8; round += 1) {
      const leases: Lease[] = [];
      for (let n = 0; n < 20; n += 1) {
        await waitingTask(replica.database, TYPE);
        leases.push(await claimed(replica));
      }
      // Every other time the request to cancel is one of those that race.
      if (round % 2) await Promise.all(leases.map(({ identity }) => cancel(identity.taskId, replica)));
      await Promise.allSettled([
        ...leases.flatMap(({ identity: { taskId }, token }) => [
          endAttempt.execute(taskId, { kind: 'complete', token, result: round }, {}),
          cancel(taskId, replica),
          endAttempt.execute(taskId, { kind: 'fail', token, code: 'X', message: 'x', retryable: true }, {}),
        ]),
        endLost.execute(),
        endLost.endAll(),
        endLost.execute(),
      ]);
      for (const { identity } of leases) {
        const log = (await typesOf(identity.taskId)).join(' ');
        expect(log).toMatch(/^TASK_STARTED (TASK_RETRYING )?TASK_(COMPLETED|CANCELLED)$/);
      }
    }
  });
});

describe('Between a worker and PostgreSQL', () => {
  let proxy: PostgresProxy;
  beforeEach(async () => {
    proxy = await PostgresProxy.start(test.appUrl);
  });
  afterEach(async () => {
    proxy.resume();
    await Promise.all(replicas.splice(0).map((replica) => replica.stop()));
    await proxy.close();
  });

  const appends = ({ sql }: RoundTrip) => sql.includes('appended AS (');

  it('killed backends double nothing and lose nothing, and the attempt goes on', async () => {
    const kill = () =>
      superuser.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'taskbridge_app' AND datname = current_database()`);
    const replica = await workerWith(async (_input, { progress }) => {
      for (let sent = 0; sent < 100; sent += 10) {
        const stored = Array.from({ length: 10 }, async (_, n) => {
          for (let turns = 0; turns < n; turns += 1) await turn();
          await progress(sent + n);
        });
        await kill();
        await Promise.all(stored);
      }
    });
    const taskId = await task(replica);
    await ended(taskId);
    const log = await logOf(taskId);
    expect(log.slice(1, -1).map(({ payload }) => payload['progress'])).toEqual(
      Array.from({ length: 100 }, (_, n) => n),
    );
    expect((await rowOf(taskId)).attempt).toBe(1);
  });

  it.each(['before', 'after'] as const)('an append that is cut off %s it is stored is stored once', async (side) => {
    const gate = new Gate();
    const replica = await workerWith(
      async (input, context) => {
        await gate.deaf(input, context);
        await context.message('once');
      },
      { url: proxy.url },
    );
    const taskId = await task(replica);
    await gate.begun.promise;
    const cut = proxy[side](1, { matches: appends });
    gate.opened.resolve();
    await cut;
    await ended(taskId);
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_MESSAGE', 'TASK_COMPLETED']);
  });

  /** The COMMIT of the transaction that completes a task; the worker has others. */
  function commitsEnd(): (trip: RoundTrip) => boolean {
    let connection: number | undefined;
    return (trip) => {
      if (trip.parameters.includes('TASK_COMPLETED')) connection = trip.connection;
      return trip.connection === connection && /^commit$/i.test(trip.sql);
    };
  }

  it.each(['before', 'after'] as const)('an end that is cut off %s it is committed is stored once', async (side) => {
    const gate = new Gate();
    const replica = await workerWith(gate.deaf, { url: proxy.url });
    const taskId = await task(replica);
    await gate.begun.promise;
    const cut = proxy[side](1, { matches: commitsEnd() });
    gate.opened.resolve();
    await cut;
    await ended(taskId);
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_COMPLETED']);
  });
});
