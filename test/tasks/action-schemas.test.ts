import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Action, type Client, expectError, expectFieldErrors, newPrincipal, uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService } from '../support/service.js';
import { type Lease, question, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

const SCHEMA = {
  type: 'object',
  required: ['amount'],
  properties: { amount: { type: 'integer', maximum: 100 }, note: { type: 'string', pattern: '^[a-z ]*$' } },
  additionalProperties: false,
};

let database: TestDatabase;
let service: Service;
let client: Client;
let worker: WorkerClient;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS }, { lifetime: 'file' });
  client = newPrincipal(service.url);
  worker = new WorkerClient(client.url);
});

afterAll(async () => {
  await service.stop();
  await database.drop();
});

async function leased(): Promise<Lease> {
  const taskType = uniqueId('asks');
  await client.create({ clientRequestId: uniqueId(), taskType });
  return worker.lease(taskType);
}

async function asking(actionSchemas: object = { approve: SCHEMA }): Promise<Lease> {
  const lease = await leased();
  const answer = await worker.suspend(lease, question({ suspendId: 'q', actionSchemas }));
  if (answer.status !== 200) throw new Error(answer.text);
  return lease;
}

const action = (payload?: Action['payload'], actionType = 'approve'): Action => ({
  clientActionId: uniqueId('action'),
  suspendId: 'q',
  actionType,
  ...(payload && { payload }),
});

describe('An answer to a question with schemas', () => {
  it('has to fit, and a refused one leaves the question open', async () => {
    const { taskId } = await asking();
    const wrong: readonly (readonly [Action['payload'], string])[] = [
      [undefined, 'payload.amount'],
      [{ amount: 101 }, 'payload.amount'],
      [{ amount: 1, note: 'UPPER' }, 'payload.note'],
      [{ amount: 1, more: true }, 'payload.more'],
    ];
    const sent = action();
    for (const [payload, path] of wrong) {
      const answer = await client.act(taskId, { ...sent, ...(payload && { payload }) });
      expect(expectFieldErrors(answer).map((error) => error.path)).toContain(path);
    }
    expect((await client.snapshot(taskId)).body.openSuspension).toMatchObject({ actionSchemas: { approve: SCHEMA } });
    const fits = { ...sent, payload: { amount: 100, note: 'fine' } };
    expect((await client.act(taskId, fits)).body.status).toBe('ACCEPTED');
    expect((await client.act(taskId, fits)).body.status).toBe('DEDUPLICATED');
    expectError(await client.act(taskId, { ...fits, payload: { amount: 'x' } }), 409, 'IDEMPOTENCY_CONFLICT');
  });

  it('of an action without a schema may be anything', async () => {
    const { taskId } = await asking();
    expect((await client.act(taskId, action({ any: 1 }, 'reject'))).body.status).toBe('ACCEPTED');
  });

  it('is judged after the question, its time and the allowed actions', async () => {
    const { taskId } = await asking();
    expectError(await client.act(taskId, { ...action(), suspendId: 'other' }), 404, 'NOT_FOUND');
    expectError(await client.act(taskId, action({}, 'burn')), 409, 'ACTION_NOT_ALLOWED');
    expect((await client.act(taskId, action({ amount: 1 }))).status).toBe(202);
    expect((await client.act(taskId, action({ amount: 'x' }))).body.status).toBe('REJECTED_ALREADY_RESOLVED');
  });

  it('costs less than a second when the schema is hostile', async () => {
    const hostile = { items: { pattern: '^(a+)+$' } };
    const { taskId } = await asking({ approve: { properties: { list: hostile } } });
    const begun = performance.now();
    const list = Array.from({ length: 60 }, () => `${'a'.repeat(900)}!`);
    expect(expectFieldErrors(await client.act(taskId, action({ list })))).toHaveLength(20);
    expect(performance.now() - begun).toBeLessThan(1_000);
  });
});

describe('A question with a schema that the service does not take', () => {
  it.each<[string, object, RegExp]>([
    ['is for no allowed action', { burn: {} }, /burn/],
    ['refers to another document', { approve: { $ref: 'https://example.com/a' } }, /#/],
    ['has a pattern that may take exponential time', { approve: { pattern: '(a)\\1' } }, /RE2/],
    ['is no schema', { approve: 1 }, /schema/],
  ])('is refused: it %s', async (_, actionSchemas, message) => {
    const lease = await leased();
    const [error] = expectFieldErrors(await worker.suspend(lease, question({ actionSchemas })));
    expect([error?.path, error?.message].join(' ')).toMatch(message);
    expect((await worker.suspend(lease, question())).status).toBe(200);
  });
});

describe('The questions of a snapshot', () => {
  it('say who answered which, and are in no event', async () => {
    const lease = await asking();
    const sent = action({ amount: 1 });
    await client.act(lease.taskId, sent);
    const again = await worker.lease(lease.taskType);
    await worker.suspend(again, question({ suspendId: 'second' }));
    const { questions } = (await client.snapshot(lease.taskId)).body as { questions?: readonly object[] };
    expect(questions).toEqual([
      {
        suspendId: 'q',
        state: 'answered',
        answeredBy: client.principal,
        answeredAt: expect.stringMatching(/Z$/),
        clientActionId: sent.clientActionId,
      },
      { suspendId: 'second', state: 'open' },
    ]);
    expect((await client.events(lease.taskId)).text).not.toContain(client.principal);
    await client.cancel(lease.taskId);
    const after = (await client.snapshot(lease.taskId)).body as { questions?: readonly { state: string }[] };
    expect(after.questions?.map(({ state }) => state)).toEqual(['answered', 'closed']);
  });
});
