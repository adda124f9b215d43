import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { type Action, Client, type CreateBody, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';
import { question, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

describe('A request that is repeated with other metadata', () => {
  let database: TestDatabase;
  let superuser: pg.Client;
  let services: readonly Service[];
  let client: Client;
  /** The same principal on the other replica. */
  let beside: Client;
  let worker: WorkerClient;

  beforeAll(async () => {
    database = await createTestDatabase();
    superuser = new pg.Client({ connectionString: database.superuserUrl });
    await superuser.connect();
    // Only so can a fact that was stored be changed: as if release 0.1.0 had written it.
    await superuser.query('SET session_replication_role = replica');
    const env = { DATABASE_URL: database.appUrl, DATA_DIR: await temporaryDirectory(), ...WITH_WORKERS };
    services = await Promise.all([startService(env, { lifetime: 'file' }), startService(env, { lifetime: 'file' })]);
    client = newPrincipal(services[0]?.url ?? '');
    beside = new Client(services[1]?.url ?? '', client.principal);
    worker = new WorkerClient(client.url);
  });

  afterAll(async () => {
    await Promise.all(services.map((service) => service.stop()));
    await superuser.end();
    await database.drop();
  });

  const ofThisBuild = () => Promise.resolve();
  const forget = (table: string) => async (taskId: string) => {
    const { rowCount } = await superuser.query(
      `UPDATE taskbridge.${table} SET content_fingerprint = NULL WHERE task_id = $1`,
      [taskId],
    );
    expect(rowCount).toBe(1);
  };

  describe.each([
    ['that this build stored', ofThisBuild],
    ['that release 0.1.0 stored', forget('proj_tasks')],
  ])('is the same create, of a task %s', (_build, stored) => {
    const request = (): CreateBody & { clientRequestId: string } => ({
      clientRequestId: uniqueId(),
      taskType: 'demo.echo',
      input: { b: [1, 0.5, 'ä'], a: { nested: null } },
      metadata: { at: 1 },
    });

    it.each<[string, Partial<CreateBody>]>([
      ['other members', { metadata: { at: 2, trace: 'x' } }],
      ['an empty object', { metadata: {} }],
      ['none', {}],
    ])('with %s, on either replica, and the task keeps the first', async (_what, other) => {
      const body = request();
      const { metadata: _, ...rest } = body;
      const { taskId } = (await client.create(body)).body;
      await stored(taskId);
      for (const by of [client, beside]) {
        const again = await by.create({ ...rest, ...other });
        expect([again.status, again.body.taskId, again.body.deduplicated]).toEqual([200, taskId, true]);
      }
      expect((await beside.snapshot(taskId)).body.metadata).toEqual(body.metadata);
    });

    it.each<[string, Partial<CreateBody>]>([
      ['another type', { taskType: 'demo.fail' }],
      ['another input', { input: { b: [1, 0.5, 'ä'], a: {} } }],
      ['an empty input', { input: {} }],
      ['no input', { input: undefined } as never],
    ])('unless it has %s', async (_what, other) => {
      const body = request();
      const { taskId } = (await client.create(body)).body;
      await stored(taskId);
      expectError(await beside.create({ ...body, ...other }), 409, 'IDEMPOTENCY_CONFLICT');
    });

    it.each([[{}, { input: {} }] as const, [{ input: {} }, {}] as const])(
      'with the input of %j and then of %j: an input that is absent is empty',
      async (first, other) => {
        const body = { clientRequestId: uniqueId(), taskType: 'demo.echo' };
        const { taskId } = (await client.create({ ...body, ...first })).body;
        await stored(taskId);
        for (const input of [first, other]) {
          const again = await beside.create({ ...body, ...input, metadata: { n: 1 } });
          expect([again.status, again.body.taskId]).toEqual([200, taskId]);
        }
        expectError(await beside.create({ ...body, input: { a: 1 } }), 409, 'IDEMPOTENCY_CONFLICT');
      },
    );

    it('with files, which count with their names, types and bytes in their order', async () => {
      const clientRequestId = uniqueId();
      const send = (by: Client, metadata: object, ...files: readonly [string, string, string][]) => {
        const form = new FormData();
        form.set('clientRequestId', clientRequestId);
        form.set('taskType', 'demo.attachments');
        form.set('metadata', JSON.stringify(metadata));
        for (const [name, type, text] of files) form.append('attachment', new Blob([text], { type }), name);
        return by.request<{ taskId: string }>('POST', '/api/v1/tasks', { body: form });
      };
      const [a, b] = [
        ['a.txt', 'text/plain', 'one'],
        ['b.txt', 'text/plain', 'two'],
      ] as const satisfies readonly [string, string, string][];
      const first = await send(client, { at: 1 }, [...a], [...b]);
      expect(first.status).toBe(201);
      await stored(first.body.taskId);
      const again = await send(beside, { at: 2 }, [...a], [...b]);
      expect([again.status, again.body.taskId]).toEqual([200, first.body.taskId]);
      const others: readonly (readonly [string, string, string][])[] = [
        [[...b], [...a]],
        [[...a]],
        [[...a], ['b.txt', 'text/plain', 'three']],
        [[...a], ['c.txt', 'text/plain', 'two']],
        [[...a], ['b.txt', 'text/csv', 'two']],
      ];
      for (const files of others) {
        expectError(await send(beside, { at: 1 }, ...files), 409, 'IDEMPOTENCY_CONFLICT');
      }
    });
  });

  it('is one create when all come at one time', async () => {
    const body = { clientRequestId: uniqueId(), taskType: 'demo.echo', input: { n: 1 } };
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? client : beside).create({ ...body, metadata: { at } })),
    );
    expect(new Set(answers.map((answer) => answer.body.taskId)).size).toBe(1);
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(39);
  });

  it('is a conflict where the stored input is no JSON that the service takes', async () => {
    const body = { clientRequestId: uniqueId(), taskType: 'demo.echo', input: { n: 1 } };
    const { taskId } = (await client.create(body)).body;
    await superuser.query(
      `UPDATE taskbridge.proj_tasks SET content_fingerprint = NULL, input = '{"n":1,"n":1}' WHERE task_id = $1`,
      [taskId],
    );
    expectError(await beside.create(body), 409, 'IDEMPOTENCY_CONFLICT');
  });

  describe.each([
    ['that this build stored', ofThisBuild],
    ['that release 0.1.0 stored', forget('entries_action_receipts')],
  ])('is the same action, of one %s', (_build, stored) => {
    const answered = async (more: Partial<Action>) => {
      const taskType = uniqueId('type');
      const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType })).body;
      const { body } = await worker.suspend(await worker.lease(taskType), question());
      const action: Action = { clientActionId: 'a', suspendId: body.suspendId, actionType: 'approve', ...more };
      expect((await client.act(taskId, action)).status).toBe(202);
      await stored(taskId);
      return { taskId, action };
    };
    const demand = async (taskId: string, action: Action) => {
      const { status, body } = await beside.act(taskId, action);
      expect([status, body.status]).toEqual([200, 'DEDUPLICATED']);
    };

    it('with other metadata and with none, also after the end of the task', async () => {
      const { taskId, action } = await answered({ payload: { b: 1, a: [0.5, 'ä'] }, metadata: { at: 1 } });
      const { metadata: _, ...without } = action;
      await demand(taskId, { ...action, metadata: { at: 2 } });
      await client.cancel(taskId);
      await demand(taskId, { ...action, metadata: { at: 3 } });
      await demand(taskId, without);
      await demand(taskId, { ...without, payload: { a: [0.5, 'ä'], b: 1 } });
    });

    it('with an empty payload and with none: its executor gets the same', async () => {
      const none = await answered({});
      await demand(none.taskId, { ...none.action, payload: {} });
      const empty = await answered({ payload: {} });
      const { payload: _, ...without } = empty.action;
      await demand(empty.taskId, without);
    });

    it.each<[string, Partial<Action>]>([
      ['another payload', { payload: { n: 2 } }],
      ['no payload', { payload: {} }],
      ['another type', { actionType: 'reject' }],
      ['another question', { suspendId: 'never-asked' }],
    ])('unless it has %s', async (_what, other) => {
      const { taskId, action } = await answered({ payload: { n: 1 }, metadata: { at: 1 } });
      expectError(await beside.act(taskId, { ...action, ...other }), 409, 'IDEMPOTENCY_CONFLICT');
    });
  });
});
