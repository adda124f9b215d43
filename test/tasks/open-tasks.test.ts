import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { AuthContext } from '../../src/auth/auth-context.js';
import { TooManyOpenTasks } from '../../src/tasks/domain/tasks.errors.js';
import { jsonTextOf } from '../../src/json/canonical-json.js';
import { SubmitTask } from '../../src/tasks/submit-task.js';
import { Client, type Created, expectError, newPrincipal, rawRequest, uniqueId } from '../support/client.js';
import { field, file, formOf } from '../support/form.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { createReplica, type Replica } from '../support/replica.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';

/** Enough that the first creates of an owner are far from the cap, and do not wait for each other. */
const CAP = 505;
const SMALL_CAP = 3;

const sleep = () => ({
  clientRequestId: uniqueId('request'),
  taskType: 'demo.sleep',
  input: { ms: 600_000 },
});

describe('The cap on the tasks of a principal that are not over', () => {
  let database: TestDatabase;
  let service: Service;

  beforeAll(async () => {
    const [created, dataDirectory] = await Promise.all([createTestDatabase(), temporaryDirectory()]);
    database = created;
    service = await startService(
      { DATABASE_URL: database.appUrl, DATA_DIR: dataDirectory, OPEN_TASKS_PER_PRINCIPAL: String(SMALL_CAP) },
      { lifetime: 'file' },
    );
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const atTheCap = async () => {
    const client = newPrincipal(service.url);
    const bodies = Array.from({ length: SMALL_CAP }, sleep);
    const answers = await Promise.all(bodies.map((body) => client.create(body)));
    expect(answers.map(({ status }) => status)).toEqual(bodies.map(() => 201));
    return { client, bodies, taskIds: answers.map(({ body }) => body.taskId) };
  };

  describe('kept by the insert', () => {
    const replicas: Replica[] = [];
    const replica = async (cap: number) => {
      const env = { DEMO_TASKS: 'true', OPEN_TASKS_PER_PRINCIPAL: String(cap) };
      const started = await createReplica(database.appUrl, { env });
      replicas.push(started);
      return started;
    };
    const creates = (count: number, on: readonly Replica[]) => {
      const owner: AuthContext = { subject: uniqueId('owner'), scopes: new Set(), attributes: {} };
      const create = async (i: number) => {
        const { taskType, input } = sleep();
        const body = { clientRequestId: `request-${i}`, taskType, input: jsonTextOf(input) };
        await on[i % on.length]?.get(SubmitTask).execute(owner, body);
      };
      return Promise.allSettled(Array.from({ length: count }, (_, i) => create(i)));
    };

    afterEach(() => Promise.all(replicas.splice(0).map((started) => started.stop())));

    it('holds to the last one for creates that arrive together, on two replicas', async () => {
      const outcomes = await creates(CAP + 20, [await replica(CAP), await replica(CAP)]);
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
      expect(outcomes.length - refused.length).toBe(CAP);
      for (const { reason } of refused) expect(reason).toBeInstanceOf(TooManyOpenTasks);
    });

    it('is none when it is 0', async () => {
      const outcomes = await creates(SMALL_CAP + 2, [await replica(0)]);
      expect(outcomes.map(({ status }) => status)).toEqual(outcomes.map(() => 'fulfilled'));
    });
  });

  it('is answered with 429 and the seconds to wait, and leaves others alone', async () => {
    const { client } = await atTheCap();
    const refused = await client.create(sleep());
    expect(expectError(refused, 429, 'TOO_MANY_REQUESTS').details).toEqual({ maxOpenTasks: SMALL_CAP });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await newPrincipal(service.url).create(sleep())).toMatchObject({ status: 201 });
  });

  it('never refuses the repeat of an earlier create, and says of other content what it always says', async () => {
    const { client, bodies, taskIds } = await atTheCap();
    const [body = sleep()] = bodies;
    expect(await client.create(body)).toMatchObject({ status: 200, body: { taskId: taskIds[0], deduplicated: true } });
    expectError(await client.create({ ...body, input: { ms: 1 } }), 409, 'IDEMPOTENCY_CONFLICT');
  });

  it('has room again when one of them is over', async () => {
    const { client, taskIds } = await atTheCap();
    await client.cancel(taskIds[0] ?? '');
    await eventually(
      'a task is over',
      async () => (await client.snapshot(taskIds[0] ?? '')).body.status === 'CANCELLED',
    );
    expect(await client.create(sleep())).toMatchObject({ status: 201 });
    expectError(await client.create(sleep()), 429, 'TOO_MANY_REQUESTS');
  });

  describe('for a create with a file', () => {
    const form = (clientRequestId: string, order: 'fields first' | 'file first', value: string) => {
      const fields = [field('clientRequestId', clientRequestId), field('taskType', 'demo.sleep')];
      const attached = file('a.txt', value);
      return formOf(order === 'fields first' ? [...fields, attached] : [attached, ...fields]);
    };

    it.each(['fields first', 'file first'] as const)('holds, and never for its repeat: %s', async (order) => {
      const client = newPrincipal(service.url);
      const repeated = form(uniqueId('request'), order, 'hello');
      const first = await client.request<Created>('POST', '/api/v1/tasks', repeated);
      for (let i = 1; i < SMALL_CAP; i += 1) await client.create(sleep());
      expect(await client.request('POST', '/api/v1/tasks', repeated)).toMatchObject({
        status: 200,
        body: { taskId: first.body.taskId, deduplicated: true },
      });
      const refused = await client.request('POST', '/api/v1/tasks', form(uniqueId('request'), order, 'hello'));
      expectError(refused, 429, 'TOO_MANY_REQUESTS');
    });

    it('is known before the bytes of the file are there', async () => {
      const { client } = await atTheCap();
      const { headers, body } = form(uniqueId('request'), 'fields first', 'half of the file');
      const cut = body.subarray(0, body.indexOf('half') + 4);
      const unfinished = { 'Content-Length': String(body.length), ...headers };
      expectError(await answerTo(client, unfinished, cut), 429, 'TOO_MANY_REQUESTS');
    });

    it('is known before anything is there, from an Idempotency-Key', async () => {
      const { client } = await atTheCap();
      const { headers, body } = form('unused', 'fields first', 'hello');
      const announced = { 'Content-Length': String(body.length), 'Idempotency-Key': uniqueId('request'), ...headers };
      expectError(await answerTo(client, announced, Buffer.alloc(0)), 429, 'TOO_MANY_REQUESTS');
    });

    const answerTo = (client: Client, headers: Record<string, string>, body: Buffer) => {
      const sent = Object.entries({ ...client.headers, ...headers }).map(([name, value]) => `${name}: ${value}`);
      return rawRequest(client.url, ['POST /api/v1/tasks HTTP/1.1', ...sent], body);
    };
  });
});
