import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, expectFieldErrors, newPrincipal, uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';

const HOST_MODULE = fileURLToPath(new URL('../support/defining-host.js', import.meta.url));

describe('A handler of defineTask', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    const TASK_TYPES = JSON.stringify({ 'define.greet': { maxRunning: 2 } });
    service = await startService({ DATABASE_URL: database.appUrl, HOST_MODULE, TASK_TYPES }, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const create = (taskType: string, input: Record<string, unknown>) =>
    client.create({ clientRequestId: uniqueId(), taskType, input });
  const ended = (taskId: string) =>
    eventually('it is over', async () => {
      const { body } = await client.snapshot(taskId);
      return ['COMPLETED', 'FAILED'].includes(body.status) && (body as unknown as Record<string, unknown>);
    });

  it('has the policy of its author where the operator sets none', async () => {
    const { body } = await new Client(service.url).request('GET', '/api/v1/task-types/define.greet');
    expect(body).toEqual({
      taskType: 'define.greet',
      policy: { maxRunning: 2, maxAttempts: 1 },
      from: { maxRunning: 'file', maxAttempts: 'handler' },
    });
  });

  it('refuses an input at the create, with its path, and gets what its schema makes of a right one', async () => {
    expect(expectFieldErrors(await create('define.greet', { name: 7 }))).toEqual([
      { path: 'input.name', message: 'must be a text' },
    ]);
    const { body } = await create('define.greet', { name: ' Ada ' });
    expect(await ended(body.taskId)).toMatchObject({ status: 'COMPLETED', result: { greeting: 'Hello, Ada!' } });
  });

  it('fails a task whose result is not as its schema says', async () => {
    expect(await ended((await create('define.count', { count: 1 })).body.taskId)).toMatchObject({
      status: 'COMPLETED',
    });
    expect(await ended((await create('define.count', { count: 'one' })).body.taskId)).toMatchObject({
      status: 'FAILED',
      failure: { code: 'RESULT_INVALID', message: 'count: must be counted' },
    });
  });
});
