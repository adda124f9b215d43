import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, type CreateBody, expectError, newPrincipal, uniqueId } from './support/client.js';
import { field, file, formOf } from './support/form.js';
import { createTestDatabase, type TestDatabase } from './support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from './support/service.js';

/** Enough that the first creates of an owner are far from the cap, and do not wait for each other. */
const CAP = 505;
const SMALL_CAP = 3;

const sleep = (): CreateBody => ({
  clientRequestId: uniqueId('request'),
  taskType: 'demo.sleep',
  input: { ms: 600_000 },
});

describe('The cap on the tasks of a principal that are not over', () => {
  let database: TestDatabase;
  let services: readonly Service[];

  beforeAll(async () => {
    const [created, dataDirectory] = await Promise.all([createTestDatabase(), temporaryDirectory()]);
    database = created;
    const start = (cap: number) =>
      startService(
        { DATABASE_URL: database.appUrl, DATA_DIR: dataDirectory, OPEN_TASKS_PER_PRINCIPAL: String(cap) },
        { lifetime: 'file' },
      );
    services = await Promise.all([start(CAP), start(CAP), start(SMALL_CAP), start(0)]);
  });

  afterAll(async () => {
    await Promise.all(services.map((service) => service.stop()));
    await database.drop();
  });

  const somebodyAt = (index: number) => newPrincipal(services[index]?.url ?? '');
  const atTheCap = async () => {
    const client = somebodyAt(2);
    const bodies = Array.from({ length: SMALL_CAP }, sleep);
    const answers = await Promise.all(bodies.map((body) => client.create(body)));
    expect(answers.map(({ status }) => status)).toEqual(bodies.map(() => 201));
    return { client, bodies, taskIds: answers.map(({ body }) => body.taskId) };
  };

  it('is kept to the last one by creates that arrive together, on two replicas', async () => {
    const here = somebodyAt(0);
    const there = new Client(services[1]?.url ?? '', here.principal);
    const answers = await Promise.all(
      Array.from({ length: CAP + 20 }, (_, i) => (i % 2 === 0 ? here : there).create(sleep())),
    );
    const refused = answers.filter(({ status }) => status !== 201);
    expect(answers.length - refused.length).toBe(CAP);
    for (const answer of refused) expectError(answer, 429, 'TOO_MANY_REQUESTS');
  });

  it('is answered with 429 and the seconds to wait, and leaves others alone', async () => {
    const { client } = await atTheCap();
    const refused = await client.create(sleep());
    expect(expectError(refused, 429, 'TOO_MANY_REQUESTS').details).toEqual({ maxOpenTasks: SMALL_CAP });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await somebodyAt(2).create(sleep())).toMatchObject({ status: 201 });
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

  it('holds for creates with files', async () => {
    const { client } = await atTheCap();
    const form = formOf([
      field('clientRequestId', uniqueId('request')),
      field('taskType', 'demo.sleep'),
      file('a.txt', 'hello'),
    ]);
    expectError(await client.request('POST', '/api/v1/tasks', form), 429, 'TOO_MANY_REQUESTS');
  });

  it('is none when it is 0', async () => {
    const client = somebodyAt(3);
    const answers = await Promise.all(Array.from({ length: SMALL_CAP + 2 }, () => client.create(sleep())));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
  });
});
