import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import {
  type Action,
  type ActionResult,
  type Answer,
  type Client,
  Client as HttpClient,
  type CreateBody,
  type Envelope,
  type ErrorBody,
  expectError,
  expectFieldErrors,
  newPrincipal,
  type Snapshot,
  uniqueId,
} from '../support/client.js';
import { checkInvariants, storedEnvelopes } from '../support/fold.js';
import { createTestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { type Lease, type Question, question, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

const full = process.env['FULL'] === '1';
const HOST_MODULE = fileURLToPath(new URL('../support/asking-host.js', import.meta.url));
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let superuser: pg.Client;
let services: Service[];
let client: Client;
/** The same principal on the other instance. */
let beside: Client;
let worker: WorkerClient;

const started = (env: Record<string, string> = {}) =>
  startService({ DATABASE_URL: database.appUrl, HOST_MODULE, ...WITH_WORKERS, ...env }, { lifetime: 'file' });

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  services = await Promise.all([started(), started()]);
  client = newPrincipal(services[0]?.url ?? '');
  beside = new HttpClient(services[1]?.url ?? '', client.principal);
  worker = new WorkerClient(client.url);
});

afterAll(async () => {
  await Promise.all(services.map((service) => service.stop()));
  await superuser.end();
  await database.drop();
});

const created = async (taskType: string, input: CreateBody['input'] = {}, by = client): Promise<string> => {
  const answer = await by.create({ clientRequestId: uniqueId('request'), taskType, input });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.body.taskId;
};

const snapshot = async (taskId: string): Promise<Snapshot> => (await client.snapshot(taskId)).body;

const suspended = (taskId: string) =>
  eventually('it asks', async () => (await snapshot(taskId)).openSuspension as { suspendId: string } | undefined);

const ended = (taskId: string) =>
  eventually('it ends', async () => {
    const body = await snapshot(taskId);
    return ['COMPLETED', 'FAILED', 'CANCELLED'].includes(body.status) && body;
  });

/** Straight from the rows, so that it does not matter which service is there. */
const logOf = async (taskId: string): Promise<Envelope[]> =>
  (await storedEnvelopes(database.superuserUrl, taskId)).map((raw) => JSON.parse(raw) as Envelope);
const typesOf = async (taskId: string) => (await logOf(taskId)).map(({ type }) => type);

interface Asked {
  readonly taskId: string;
  readonly suspendId: string;
  readonly lease: Lease;
}

/** A question of a remote worker's task: after the answer only the test continues it. */
const asked = async (overrides: Question = {}, taskType = uniqueId('type')): Promise<Asked> => {
  const taskId = await created(taskType);
  const lease = await worker.lease(taskType);
  const answer = await worker.suspend(lease, question(overrides));
  if (answer.status !== 200) throw new Error(answer.text);
  return { taskId, suspendId: answer.body.suspendId, lease };
};

const actionOn = ({ suspendId }: { readonly suspendId: string }, overrides: Partial<Action> = {}): Action => ({
  clientActionId: uniqueId('action'),
  suspendId,
  actionType: 'approve',
  ...overrides,
});

const outcome = ({ status, body }: Answer<ActionResult>) => [status, body.status];
const refusal = ({ status, body }: Answer<unknown>) => [status, (body as ErrorBody).code];

/**
 * Sends an action that is judged after the question has expired and before any reaper has seen that: reapers skip a locked row,
 * and a refusal waits for no lock.
 */
const actedAfterExpiry = async (taskId: string, expiresAt: string, action: Action): Promise<Answer<ActionResult>> => {
  await superuser.query('BEGIN');
  await superuser.query('SELECT FROM taskbridge.proj_tasks WHERE task_id = $1 FOR UPDATE', [taskId]);
  await eventually('the question expires', async () => {
    const { rows } = await superuser.query<{ over: boolean }>('SELECT clock_timestamp() > $1 AS over', [expiresAt]);
    return rows[0]?.over;
  });
  try {
    return await client.act(taskId, action);
  } finally {
    await superuser.query('COMMIT');
  }
};

const soon = (ms = 400) => new Date(Date.now() + ms).toISOString();

describe('demo.approval', () => {
  it('asks, and completes with the decision and its payload', async () => {
    const taskId = await created('demo.approval', { question: 'Ship it?' });
    const { suspendId } = await suspended(taskId);
    expect(await snapshot(taskId)).toMatchObject({
      status: 'RUNNING',
      openSuspension: {
        suspendId,
        kind: 'USER_ACTION_REQUIRED',
        reasonCode: 'APPROVAL_REQUIRED',
        allowedActions: ['approve', 'reject'],
        schemaVersion: 1,
        interaction: { question: 'Ship it?' },
      },
    });
    const action = actionOn(
      { suspendId },
      { actionType: 'reject', payload: { because: 'not today', n: [1, { a: null }] } },
    );
    const answer = await client.act(taskId, action);
    expect([answer.status, answer.body]).toEqual([
      202,
      { taskId, suspendId, clientActionId: action.clientActionId, status: 'ACCEPTED' },
    ]);
    const { status, attempt, result, openSuspension } = await ended(taskId);
    expect([status, attempt, result]).toEqual(['COMPLETED', 1, { decision: 'reject', payload: action.payload }]);
    expect(openSuspension).toBeUndefined();
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_SUSPENDED', 'TASK_ACTION_ACCEPTED', 'TASK_COMPLETED']);
  });

  it('has an empty payload when the action has none, and a question of its own', async () => {
    const taskId = await created('demo.approval');
    const open = await suspended(taskId);
    expect(open).toMatchObject({ interaction: { question: expect.any(String) } });
    expect(open).not.toHaveProperty('expiresAt');
    await client.act(taskId, actionOn(open));
    expect((await ended(taskId)).result).toEqual({ decision: 'approve', payload: {} });
  });

  it('fails when nobody answers in time', async () => {
    const taskId = await created('demo.approval', { expiresInMs: 200 });
    const { status, failure } = await ended(taskId);
    expect([status, failure?.code]).toEqual(['FAILED', 'SUSPENSION_EXPIRED']);
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_SUSPENDED', 'TASK_FAILED']);
  });
});

describe('An action', () => {
  it('is accepted with 202, stored with its moment and without its payload', async () => {
    const { taskId, suspendId } = await asked();
    const action = actionOn({ suspendId }, { payload: { secret: 1 }, metadata: { client: 'test' } });
    const answer = await client.act(taskId, action);
    const { clientActionId } = action;
    expect([answer.status, answer.body]).toEqual([202, { taskId, suspendId, clientActionId, status: 'ACCEPTED' }]);
    const last = (await logOf(taskId)).at(-1);
    expect([last?.type, last?.payload]).toEqual([
      'TASK_ACTION_ACCEPTED',
      { suspendId, clientActionId, actionType: 'approve', acceptedAt: expect.stringMatching(TIMESTAMP) },
    ]);
  });

  it('is deduplicated when it comes again, on either instance, after the resume and after the end', async () => {
    const { taskId, suspendId, lease } = await asked();
    const action = actionOn({ suspendId });
    expect(outcome(await client.act(taskId, action))).toEqual([202, 'ACCEPTED']);
    expect(outcome(await client.act(taskId, action))).toEqual([200, 'DEDUPLICATED']);
    const resumed = await worker.lease(lease.taskType);
    expect(outcome(await beside.act(taskId, action))).toEqual([200, 'DEDUPLICATED']);
    await worker.complete(resumed);
    expect(outcome(await client.act(taskId, action))).toEqual([200, 'DEDUPLICATED']);
    expect((await typesOf(taskId)).filter((type) => type === 'TASK_ACTION_ACCEPTED')).toHaveLength(1);
  });

  it('is the same with the members of its payload in another order', async () => {
    const { taskId, suspendId } = await asked();
    const action = actionOn({ suspendId }, { payload: { a: 1, b: { c: 2, d: 3 } } });
    await client.act(taskId, action);
    const again = { ...action, payload: { b: { d: 3, c: 2 }, a: 1 } };
    expect(outcome(await client.act(taskId, again))).toEqual([200, 'DEDUPLICATED']);
  });

  it.each<[string, Partial<Action>]>([
    ['another type', { actionType: 'reject' }],
    ['another payload', { payload: { n: 2 } }],
    ['no payload', { payload: {} }],
    ['another question', { suspendId: 'one-that-was-never-asked' }],
  ])('under a used id with %s is a conflict, also after the end', async (_, other) => {
    const { taskId, suspendId, lease } = await asked();
    const action = actionOn({ suspendId }, { payload: { n: 1 }, metadata: { n: 1 } });
    await client.act(taskId, action);
    expectError(await client.act(taskId, { ...action, ...other }), 409, 'IDEMPOTENCY_CONFLICT');
    await worker.complete(await worker.lease(lease.taskType));
    expectError(await client.act(taskId, { ...action, ...other }), 409, 'IDEMPOTENCY_CONFLICT');
    expect(outcome(await client.act(taskId, action))).toEqual([200, 'DEDUPLICATED']);
  });

  it('may have the id of an action on another task', async () => {
    const [first, second] = [await asked(), await asked()];
    const { clientActionId } = actionOn(first);
    for (const { taskId, suspendId } of [first, second]) {
      expect(outcome(await client.act(taskId, actionOn({ suspendId }, { clientActionId })))).toEqual([202, 'ACCEPTED']);
    }
  });

  it('after the answer comes too late, whatever it says', async () => {
    const { taskId, suspendId } = await asked();
    await client.act(taskId, actionOn({ suspendId }));
    for (const actionType of ['approve', 'reject', 'never-heard-of']) {
      const late = await client.act(taskId, actionOn({ suspendId }, { actionType }));
      expect(outcome(late)).toEqual([200, 'REJECTED_ALREADY_RESOLVED']);
    }
  });

  it('on a question that was answered does nothing to the one that is open', async () => {
    const first = await asked({ suspendId: 'first' });
    await client.act(first.taskId, actionOn(first));
    await worker.suspend(await worker.lease(first.lease.taskType), question({ suspendId: 'second' }));
    expect(outcome(await client.act(first.taskId, actionOn(first)))).toEqual([200, 'REJECTED_ALREADY_RESOLVED']);
    expect((await snapshot(first.taskId)).openSuspension).toMatchObject({ suspendId: 'second' });
    const answer = await client.act(first.taskId, actionOn({ suspendId: 'second' }));
    expect(outcome(answer)).toEqual([202, 'ACCEPTED']);
  });

  it('that is not allowed is refused with what is, and may be put right under the same id', async () => {
    const { taskId, suspendId } = await asked({ allowedActions: ['ship', 'wait'] });
    const action = actionOn({ suspendId }, { actionType: 'approve' });
    const { details } = expectError(await client.act(taskId, action), 409, 'ACTION_NOT_ALLOWED');
    expect(details).toEqual({ allowedActions: ['ship', 'wait'] });
    expect((await snapshot(taskId)).openSuspension).toMatchObject({ suspendId });
    expect(outcome(await client.act(taskId, { ...action, actionType: 'wait' }))).toEqual([202, 'ACCEPTED']);
  });

  it('on a question that was never asked is not found, whether the task asks another, asks none, or is over', async () => {
    const other = await asked();
    const over = await asked();
    await client.cancel(over.taskId);
    for (const taskId of [other.taskId, over.taskId, await created('demo.sleep', { ms: 60_000 })]) {
      const answer = await client.act(taskId, actionOn({ suspendId: 'never' }));
      expectError(answer, 404, 'NOT_FOUND');
    }
  });

  it.each(['COMPLETED', 'FAILED', 'CANCELLED'])(
    'on a question that was answered comes too late on a task that is %s, too, whatever it says',
    async (status) => {
      const { taskId, suspendId, lease } = await asked();
      await client.act(taskId, actionOn({ suspendId }));
      const resumed = await worker.lease(lease.taskType);
      if (status === 'COMPLETED') await worker.complete(resumed);
      else if (status === 'FAILED') await worker.fail(resumed, { retryable: false });
      else {
        await client.cancel(taskId);
        await worker.cancelled(resumed);
      }
      expect((await snapshot(taskId)).status).toBe(status);
      for (const [by, actionType] of [
        [client, 'approve'],
        [beside, 'never-heard-of'],
      ] as const) {
        const answer = await by.act(taskId, actionOn({ suspendId }, { actionType }));
        expect(outcome(answer)).toEqual([200, 'REJECTED_ALREADY_RESOLVED']);
      }
    },
  );

  it('on a question that the end of the task closed is refused, whatever it says, also after its time', async () => {
    const expiresAt = soon(1_000);
    const { taskId, suspendId } = await asked({ expiresAt });
    const refusals = async () => {
      for (const [by, actionType] of [
        [client, 'approve'],
        [beside, 'never-heard-of'],
      ] as const) {
        const answer = await by.act(taskId, actionOn({ suspendId }, { actionType }));
        expectError(answer, 409, 'TASK_ALREADY_TERMINAL');
      }
    };
    await client.cancel(taskId);
    expect((await snapshot(taskId)).status).toBe('CANCELLED');
    await refusals();
    await eventually('its time is over', async () => {
      const { rows } = await superuser.query<{ over: boolean }>('SELECT clock_timestamp() > $1 AS over', [expiresAt]);
      return rows[0]?.over;
    });
    await refusals();
  });

  it('on a question that was answered says so before it says that another question is open', async () => {
    const { taskId, suspendId, lease } = await asked();
    await client.act(taskId, actionOn({ suspendId }));
    await worker.suspend(await worker.lease(lease.taskType), question());
    expect(outcome(await client.act(taskId, actionOn({ suspendId })))).toEqual([200, 'REJECTED_ALREADY_RESOLVED']);
    await client.cancel(taskId);
    expect(outcome(await client.act(taskId, actionOn({ suspendId })))).toEqual([200, 'REJECTED_ALREADY_RESOLVED']);
  });

  it('on a question whose time was over when somebody cancelled the task has expired, not been closed', async () => {
    const expiresAt = soon();
    const { taskId, suspendId } = await asked({ expiresAt });
    await eventually('its time is over', async () => {
      const { rows } = await superuser.query<{ over: boolean }>('SELECT clock_timestamp() > $1 AS over', [expiresAt]);
      return rows[0]?.over;
    });
    await client.cancel(taskId);
    expect(outcome(await client.act(taskId, actionOn({ suspendId })))).toEqual([200, 'REJECTED_EXPIRED']);
  });

  it('of somebody else looks like one on a task that there is not', async () => {
    const { taskId, suspendId } = await asked();
    const stranger = newPrincipal(client.url);
    const answers = [
      await stranger.act(taskId, actionOn({ suspendId })),
      await stranger.act('0199f7a4-0000-7000-8000-000000000000', actionOn({ suspendId })),
      await stranger.act('no-task', actionOn({ suspendId })),
    ];
    const bodies = answers.map((answer) => {
      const { code, message, details } = expectError(answer, 404, 'TASK_NOT_FOUND');
      return { code, message, details };
    });
    expect(new Set(bodies.map((body) => JSON.stringify(body))).size).toBe(1);
    expect((await snapshot(taskId)).openSuspension).toBeDefined();
  });

  it('needs the scope to write', async () => {
    const { taskId, suspendId } = await asked();
    const path = `/api/v1/tasks/${taskId}/actions`;
    const reader = await client.post(path, actionOn({ suspendId }), { 'X-Principal-Scopes': 'tasks:read' });
    expectError(reader, 403, 'ACCESS_DENIED');
  });

  it.each<[string, object, string]>([
    ['without an id', { clientActionId: undefined }, 'clientActionId'],
    ['with a space in its id', { clientActionId: 'a b' }, 'clientActionId'],
    ['with an id of 256 characters', { clientActionId: 'x'.repeat(256) }, 'clientActionId'],
    ['without a question', { suspendId: undefined }, 'suspendId'],
    ['with an empty question', { suspendId: '' }, 'suspendId'],
    ['without a type', { actionType: undefined }, 'actionType'],
    ['with a type that is a number', { actionType: 1 }, 'actionType'],
    ['with a payload that is a list', { payload: [] }, 'payload'],
    ['with a payload that is null', { payload: null }, 'payload'],
    ['with metadata that is text', { metadata: 'm' }, 'metadata'],
    ['with a member that nobody knows', { comment: 'hi' }, 'comment'],
  ])('%s is refused', async (_, overrides, path) => {
    const { taskId, suspendId } = await asked();
    const body = { ...actionOn({ suspendId }), ...overrides } as Action;
    const errors = expectFieldErrors(await client.act(taskId, body));
    expect(errors.map((error) => error.path)).toContain(path);
    expect((await snapshot(taskId)).openSuspension).toBeDefined();
  });

  it('is handed to the worker that goes on, on the other instance too', async () => {
    const { taskId, suspendId, lease } = await asked();
    const waiting = new WorkerClient(beside.url).lease(lease.taskType);
    const action = actionOn({ suspendId }, { payload: { deep: [{ er: null }] }, metadata: { not: 'handed on' } });
    await client.act(taskId, action);
    const { metadata: _, ...handed } = action;
    expect((await waiting).resume).toEqual({ ...handed, actorId: client.principal });
  });
});

describe('One hundred actions at once on two instances', () => {
  const storm = (taskId: string, suspendId: string) =>
    Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        (n % 2 ? beside : client).act(taskId, actionOn({ suspendId }, { payload: { n } })),
      ),
    );

  it('have one winner, and the others get that answer', async () => {
    for (let round = 0; round < (full ? 20 : 3); round++) {
      const { taskId, suspendId, lease } = await asked();
      const answers = await storm(taskId, suspendId);
      const outcomes = answers.map(outcome).sort().map(String);
      expect(outcomes).toEqual([...Array(99).fill('200,REJECTED_ALREADY_RESOLVED'), '202,ACCEPTED']);
      const winner = answers.findIndex(({ status }) => status === 202);
      const claims = await Promise.all(
        Array.from({ length: 6 }, () => worker.claim({ taskTypes: [lease.taskType], maxTasks: 2 })),
      );
      const leases = claims.flatMap(({ body }) => body.leases);
      expect(leases.map(({ resume }) => resume?.payload)).toEqual([{ n: winner }]);
    }
  }, 60_000);

  it('resume an inline task once', async () => {
    for (let round = 0; round < (full ? 20 : 3); round++) {
      const taskId = await created('demo.approval');
      const { suspendId } = await suspended(taskId);
      const answers = await storm(taskId, suspendId);
      const late = [
        [200, 'REJECTED_ALREADY_RESOLVED'],
        [409, 'TASK_ALREADY_TERMINAL'],
      ];
      for (const answer of answers) {
        if (answer.status !== 202)
          expect(late).toContainEqual(answer.status === 409 ? refusal(answer) : outcome(answer));
      }
      const winners = answers.flatMap(({ status }, n) => (status === 202 ? [n] : []));
      expect(winners).toHaveLength(1);
      expect((await ended(taskId)).result).toEqual({ decision: 'approve', payload: { n: winners[0] } });
      expect(await typesOf(taskId)).toEqual([
        'TASK_STARTED',
        'TASK_SUSPENDED',
        'TASK_ACTION_ACCEPTED',
        'TASK_COMPLETED',
      ]);
      const leases = 'SELECT attempt, lease_number FROM taskbridge.proj_tasks WHERE task_id = $1';
      expect((await superuser.query(leases, [taskId])).rows).toEqual([{ attempt: 1, lease_number: 2 }]);
    }
  }, 60_000);

  it('that are one and the same are accepted once and deduplicated otherwise, never resolved by another', async () => {
    for (let round = 0; round < (full ? 20 : 3); round++) {
      const taskId = await created('demo.approval');
      const action = actionOn(await suspended(taskId));
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, n) => (n % 2 ? beside : client).act(taskId, action)),
      );
      const outcomes = answers.map(outcome).sort().map(String);
      expect(outcomes).toEqual([...Array(99).fill('200,DEDUPLICATED'), '202,ACCEPTED']);
    }
  }, 60_000);
});

describe('A question that expires', () => {
  it('rejects every new action from that moment on, before anybody has swept', async () => {
    const expiresAt = soon();
    const { taskId, suspendId } = await asked({ expiresAt });
    const answer = await actedAfterExpiry(
      taskId,
      expiresAt,
      actionOn({ suspendId }, { actionType: 'not allowed either' }),
    );
    expect(outcome(answer)).toEqual([200, 'REJECTED_EXPIRED']);
    expect((await ended(taskId)).failure?.code).toBe('SUSPENSION_EXPIRED');
  });

  it('rejects an action that was sent before, and waited for the task until after that moment', async () => {
    const expiresAt = soon(3_000);
    const { taskId, suspendId } = await asked({ expiresAt });
    await superuser.query('BEGIN');
    await superuser.query('SELECT FROM taskbridge.proj_tasks WHERE task_id = $1 FOR UPDATE', [taskId]);
    const answer = client.act(taskId, actionOn({ suspendId }));
    await eventually('the action waits for the row', async () => {
      const waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
      return (await superuser.query(waits)).rows.length > 0;
    });
    await eventually('the question expires', async () => {
      const { rows } = await superuser.query<{ over: boolean }>('SELECT clock_timestamp() > $1 AS over', [expiresAt]);
      return rows[0]?.over;
    });
    await superuser.query('COMMIT');
    expect(outcome(await answer)).toEqual([200, 'REJECTED_EXPIRED']);
  });

  it('fails its task within a few seconds, even if nobody acts', async () => {
    const expiresAt = soon();
    const { taskId, suspendId } = await asked({ expiresAt });
    const { status, failure, openSuspension } = await ended(taskId);
    expect([status, openSuspension]).toEqual(['FAILED', undefined]);
    expect(failure).toEqual({
      code: 'SUSPENSION_EXPIRED',
      message: expect.any(String),
      retryable: expect.any(Boolean),
    });
    const end = (await logOf(taskId)).at(-1);
    const late = Date.parse(end?.createdAt ?? '') - Date.parse(expiresAt);
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThan(3_000);
    for (const actionType of ['approve', 'never-heard-of']) {
      const answer = await beside.act(taskId, actionOn({ suspendId }, { actionType }));
      expect(outcome(answer)).toEqual([200, 'REJECTED_EXPIRED']);
    }
  });

  it('that had expired when it was asked fails its task, too', async () => {
    const { taskId } = await asked({ expiresAt: '2001-01-01T00:00:00+02:00' });
    expect((await ended(taskId)).failure?.code).toBe('SUSPENSION_EXPIRED');
  });

  it('that is answered in time does not fail its task later', async () => {
    const expiresAt = soon(1_000);
    const { taskId, suspendId, lease } = await asked({ expiresAt });
    expect(outcome(await client.act(taskId, actionOn({ suspendId })))).toEqual([202, 'ACCEPTED']);
    const other = await asked({ expiresAt });
    await ended(other.taskId);
    expect((await snapshot(taskId)).status).toBe('RUNNING');
    expect((await worker.complete(await worker.lease(lease.taskType))).status).toBe(200);
  });

  it('has one outcome when actions and the end race', async () => {
    const rounds = full ? 200 : 20;
    const at = Date.now() + 1_500;
    const expiresAt = new Date(at).toISOString();
    const questions = await Promise.all(
      Array.from({ length: rounds }, () => asked({ expiresAt, allowedActions: ['approve'] })),
    );
    const results = await Promise.all(
      questions.map(async (open, n) => {
        // Spread over the moment of expiry and the round of the reaper after it.
        const sendAt = at - 100 + (n / rounds) * 700;
        await eventually('it is time', () => Date.now() >= sendAt);
        return { ...open, answer: await (n % 2 ? beside : client).act(open.taskId, actionOn(open)) };
      }),
    );
    for (const { taskId, answer } of results) {
      if (answer.status === 202) {
        expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_SUSPENDED', 'TASK_ACTION_ACCEPTED']);
        continue;
      }
      const late = answer.status === 200 ? outcome(answer) : refusal(answer);
      expect([
        [200, 'REJECTED_EXPIRED'],
        [409, 'TASK_ALREADY_TERMINAL'],
      ]).toContainEqual(late);
      expect((await ended(taskId)).failure?.code).toBe('SUSPENSION_EXPIRED');
    }
  }, 60_000);
});

describe('A task with an open question', () => {
  it('shows it in its snapshot under another ETag, and no longer after the answer', async () => {
    const { taskId, suspendId } = await asked({ interaction: { text: 'Go?' }, uiHints: { colour: 'red' } });
    const before = await client.snapshot(taskId);
    const event = (await logOf(taskId)).at(-1);
    expect(before.body.openSuspension).toEqual(event?.payload);
    await client.act(taskId, actionOn({ suspendId }));
    const after = await client.snapshot(taskId);
    expect(after.body).not.toHaveProperty('openSuspension');
    expect(after.headers.get('etag')).not.toBe(before.headers.get('etag'));
  });

  it('is found in the list by ?suspended=true and left out by false', async () => {
    const owner = newPrincipal(client.url);
    const taskType = uniqueId('type');
    const [open, waiting] = [await created(taskType, {}, owner), await created(taskType, {}, owner)];
    const lease = await worker.lease(taskType);
    expect(lease.taskId).toBe(open);
    const { suspendId } = (await worker.suspend(lease)).body;
    const ids = async (suspended: string) =>
      (await owner.list({ suspended })).body.items.map(({ taskId, openSuspension }) => [
        taskId,
        openSuspension?.['suspendId'],
      ]);
    expect(await ids('true')).toEqual([[open, suspendId]]);
    expect(await ids('false')).toEqual([[waiting, undefined]]);
    await owner.act(open, actionOn({ suspendId }));
    expect(await ids('true')).toEqual([]);
    expect(await ids('false')).toEqual([
      [waiting, undefined],
      [open, undefined],
    ]);
  });

  it('is cancelled at once, and the question with it', async () => {
    const { taskId, suspendId } = await asked();
    const answer = await client.cancel(taskId, { reason: 'never mind' });
    expect([answer.status, answer.body.status]).toEqual([202, 'CANCELLATION_REQUESTED']);
    const body = await snapshot(taskId);
    expect(body.status).toBe('CANCELLED');
    expect(body).not.toHaveProperty('openSuspension');
    expect((await logOf(taskId)).at(-1)?.payload).toEqual({ reason: 'never mind' });
    expectError(await client.act(taskId, actionOn({ suspendId })), 409, 'TASK_ALREADY_TERMINAL');
    const state = 'SELECT state FROM taskbridge.proj_suspensions WHERE task_id = $1';
    expect((await superuser.query(state, [taskId])).rows).toEqual([{ state: 'closed' }]);
  });

  it('is either answered or cancelled first when both come at once', async () => {
    for (let round = 0; round < (full ? 200 : 20); round++) {
      const taskId = await created('demo.approval');
      const open = await suspended(taskId);
      const [action] = await Promise.all([client.act(taskId, actionOn(open)), beside.cancel(taskId)]);
      const { status } = await ended(taskId);
      const types = await typesOf(taskId);
      if (action.status === 202) expect(types[2]).toBe('TASK_ACTION_ACCEPTED');
      else {
        expect(refusal(action)).toEqual([409, 'TASK_ALREADY_TERMINAL']);
        expect([status, types.length]).toEqual(['CANCELLED', 3]);
      }
    }
  }, 60_000);
});

describe('A handler that asks', () => {
  const messagesOf = async (taskId: string) =>
    (await logOf(taskId)).map(({ type, payload }) => payload['message'] ?? payload['suspendId'] ?? type);

  const answerBoth = async (taskId: string) => {
    const colour = actionOn(await suspended(taskId), { actionType: 'red', payload: { shade: 'dark' } });
    await client.act(taskId, colour);
    const second = await eventually('it asks again', async () => {
      const open = (await snapshot(taskId)).openSuspension as { suspendId: string } | undefined;
      return open?.suspendId === 'colour' ? undefined : open;
    });
    const size = actionOn(second, { actionType: 'small' });
    await client.act(taskId, size);
    return { colour, size };
  };

  it('twice gets the first answer again without asking again', async () => {
    const taskId = await created('ask.twice');
    const { colour, size } = await answerBoth(taskId);
    const { status, attempt, result } = await ended(taskId);
    expect([status, attempt]).toEqual(['COMPLETED', 1]);
    const actorId = client.principal;
    expect(result).toEqual({ colour: { ...colour, actorId }, size: { ...size, payload: {}, actorId } });
    expect(await messagesOf(taskId)).toEqual([
      'TASK_STARTED',
      'begin, attempt 1, resume none',
      'colour',
      'colour',
      'begin, attempt 1, resume colour=red',
      'told colour=red',
      '2',
      '2',
      'begin, attempt 1, resume 2=small',
      'told colour=red',
      'told 2=small',
      'TASK_COMPLETED',
    ]);
  });

  it('and then fails gets all answers in its next attempts', async () => {
    const taskId = await created('ask.twice', { failures: 2 });
    await answerBoth(taskId);
    expect(await ended(taskId)).toMatchObject({ status: 'COMPLETED', attempt: 3 });
    const told = ['told colour=red', 'told 2=small'];
    const log = await messagesOf(taskId);
    const retried = log.slice(log.indexOf('TASK_RETRYING'));
    expect(retried).toEqual([
      'TASK_RETRYING',
      'begin, attempt 2, resume 2=small',
      ...told,
      'TASK_RETRYING',
      'begin, attempt 3, resume 2=small',
      ...told,
      'TASK_COMPLETED',
    ]);
  });

  it('two things at once has one of them open at a time', async () => {
    const taskId = await created('ask.together');
    for (const suspendId of ['A', 'B']) {
      await eventually('it asks', async () => (await suspended(taskId)).suspendId === suspendId);
      await client.act(taskId, actionOn({ suspendId }, { actionType: 'ok' }));
    }
    expect((await ended(taskId)).result).toEqual(['A', 'B']);
  });

  it('and does not let go is suspended all the same', async () => {
    const taskId = await created('ask.stubborn');
    await client.act(taskId, actionOn(await suspended(taskId), { actionType: 'ok' }));
    expect((await ended(taskId)).result).toEqual({ answered: true });
  });

  it('after output that it did not wait for has that output stored before the question', async () => {
    const taskId = await created('ask.loud');
    await client.act(taskId, actionOn(await suspended(taskId), { actionType: 'ok', payload: { fine: true } }));
    expect((await ended(taskId)).result).toEqual({ fine: true });
    const text = Array.from({ length: 20 }, (_, n) => `${n},`).join('');
    const log = await logOf(taskId);
    const question = log.findIndex(({ type }) => type === 'TASK_SUSPENDED');
    const dataOf = (events: Envelope[]) =>
      events.map(({ payload }) => (payload['data'] as string | undefined) ?? '').join('');
    expect([dataOf(log.slice(0, question)), dataOf(log.slice(question))]).toEqual([text, text]);
  });

  it('more than an event can hold gets that error', async () => {
    const taskId = await created('ask.too_much');
    expect((await ended(taskId)).result).toEqual({ refused: 'PAYLOAD_TOO_LARGE' });
  });

  it('may be answered on one instance while another goes on', async () => {
    const ids = await Promise.all(
      Array.from({ length: 10 }, (_, n) => created('demo.approval', {}, n % 2 ? beside : client)),
    );
    await Promise.all(
      ids.map(async (taskId, n) => {
        const open = await suspended(taskId);
        await (n % 2 ? client : beside).act(taskId, actionOn(open, { payload: { n } }));
        expect((await ended(taskId)).result).toEqual({ decision: 'approve', payload: { n } });
      }),
    );
  });
});

describe('After all that', () => {
  it('every guarantee holds', () => checkInvariants(database.superuserUrl, { quiescent: true }));
});

describe('A service that is killed between question and answer', () => {
  it('goes on with the answer after it was started again, and also when it is killed after the answer', async () => {
    const own = await createTestDatabase();
    const env = { DATABASE_URL: own.appUrl, HOST_MODULE, LEASE_SECONDS: '1' };
    let service = await startService(env);
    const restarted = async () => {
      service.kill('SIGKILL');
      await service.exited;
      service = await startService(env);
      return new HttpClient(service.url, 'owner');
    };
    let owner = new HttpClient(service.url, 'owner');
    const { taskId } = (await owner.create({ clientRequestId: uniqueId(), taskType: 'ask.twice' })).body;
    const asks = (suspendId: string) =>
      eventually(
        'it asks',
        async () => (await owner.snapshot(taskId)).body.openSuspension?.['suspendId'] === suspendId,
      );
    await asks('colour');
    owner = await restarted();
    await asks('colour');
    const colour = actionOn({ suspendId: 'colour' }, { actionType: 'blue' });
    expect(outcome(await owner.act(taskId, colour))).toEqual([202, 'ACCEPTED']);
    // Now it is anywhere between the hand-over and the second question.
    owner = await restarted();
    expect(outcome(await owner.act(taskId, colour))).toEqual([200, 'DEDUPLICATED']);
    await asks('2');
    owner = await restarted();
    await owner.act(taskId, actionOn({ suspendId: '2' }, { actionType: 'large' }));
    await eventually('it completes', async () => (await owner.snapshot(taskId)).body.status === 'COMPLETED');
    expect((await owner.snapshot(taskId)).body.result).toMatchObject({
      colour: { actionType: 'blue' },
      size: { actionType: 'large' },
    });
    await service.stop();
    await checkInvariants(own.superuserUrl, { quiescent: true });
    await own.drop();
  }, 60_000);
});
