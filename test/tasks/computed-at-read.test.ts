import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { RemoteTask } from '../support/remote-task.js';
import { type Service, startService } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';

const FOR_NOW = { code: 'BUSY', message: 'm', retryable: true, retryAfterMs: 0 };

describe('A snapshot', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS }, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const leftOf = async (taskId: string, by = client) => (await by.snapshot(taskId)).body.attemptsLeft;
  const change = (sql: string, ...values: unknown[]) =>
    connected(database.superuserUrl, async (db) => void (await db.query(sql, values)));

  it('has progress 100 of every completed task, and that of the last event of all others', async () => {
    const ends: Record<string, (task: RemoteTask) => Promise<unknown>> = {
      COMPLETED: (task) => task.complete(),
      FAILED: (task) => task.fail({ ...FOR_NOW, retryable: false }),
    };
    for (const [status, end] of Object.entries(ends)) {
      const task = await RemoteTask.begin(client);
      await task.progress(10);
      const running = await client.snapshot(task.taskId);
      await end(task);
      const progress = status === 'COMPLETED' ? 100 : 10;
      const over = await client.snapshot(task.taskId);
      expect([running.body.progress, over.body.status, over.body.progress]).toEqual([10, status, progress]);
      const { items } = (await client.list({ taskType: over.body.taskType })).body;
      expect(items[0]?.progress).toBe(progress);
    }
    const silent = await RemoteTask.begin(client);
    await silent.complete();
    expect((await client.snapshot(silent.taskId)).body.progress).toBe(100);
  });

  it('has another ETag than 0.1.0 gave, whose snapshot said less', async () => {
    const task = await RemoteTask.begin(client);
    await task.progress(10);
    await task.complete();
    const etag = (await client.snapshot(task.taskId)).headers.get('etag') ?? '';
    const before = etag.replace(/-\d+"$/, '"');
    expect(before).toMatch(/^"\d+-\d+"$/);
    expect((await client.snapshot(task.taskId, { 'If-None-Match': before })).body.progress).toBe(100);
    expect((await client.snapshot(task.taskId, { 'If-None-Match': etag })).status).toBe(304);
  });

  it('says how many attempts are left: failures count, and attempts that were handed back do not', async () => {
    const waiting = await client.create({ clientRequestId: uniqueId(), taskType: uniqueId('test') });
    expect(await leftOf(waiting.body.taskId)).toBe(3);
    const task = await RemoteTask.begin(client);
    expect(await leftOf(task.taskId)).toBe(3);
    for (let n = 0; n < 4; n += 1) {
      await task.release();
      await task.resume();
    }
    const { body } = await client.snapshot(task.taskId);
    expect([body.attempt, body.attemptsLeft]).toEqual([5, 3]);
    await task.fail(FOR_NOW);
    expect(await leftOf(task.taskId)).toBe(2);
    await task.resume();
    await task.fail(FOR_NOW);
    await task.resume();
    expect(await leftOf(task.taskId)).toBe(1);
    const { items } = (await client.list({ taskType: body.taskType })).body;
    expect(items[0]?.attemptsLeft).toBe(1);
    await task.fail(FOR_NOW);
    const over = (await client.snapshot(task.taskId)).body;
    expect([over.status, over.attemptsLeft]).toEqual(['FAILED', 0]);
  });

  it('goes by the number of the task where it has one, and so does its end', async () => {
    const task = await RemoteTask.begin(client);
    await change('UPDATE taskbridge.proj_tasks SET max_attempts = 2 WHERE task_id = $1', task.taskId);
    expect(await leftOf(task.taskId)).toBe(2);
    await task.fail(FOR_NOW);
    expect(await leftOf(task.taskId)).toBe(1);
    await task.resume();
    await task.fail(FOR_NOW);
    expect((await client.snapshot(task.taskId)).body).toMatchObject({ status: 'FAILED', attemptsLeft: 0 });
  });

  it('changes its ETag with the setting that it depends on', async () => {
    const { taskId } = await RemoteTask.begin(client);
    const etag = (await client.snapshot(taskId)).headers.get('etag') ?? '';
    const other = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS, TASK_MAX_ATTEMPTS: '7' });
    const answer = await new Client(other.url, client.principal).snapshot(taskId, { 'If-None-Match': etag });
    expect([answer.status, answer.body.attemptsLeft]).toEqual([200, 7]);
    await other.stop();
  });
});
