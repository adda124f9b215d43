import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { followSseAt } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { type Lease, question, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

describe('What a task waits for', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;
  let worker: WorkerClient;

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS }, { lifetime: 'file' });
    client = newPrincipal(service.url);
    worker = new WorkerClient(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const rows = (sql: string, values: unknown[] = []) =>
    connected(database.superuserUrl, async (db) => (await db.query(sql, values)).rows);

  async function leased(): Promise<Lease> {
    const taskType = uniqueId('waits');
    await client.create({ clientRequestId: uniqueId(), taskType });
    return worker.lease(taskType);
  }

  interface Shown {
    readonly taskId: string;
    readonly waitingFor?: string;
  }

  /** The same in the snapshot and in the list. */
  async function waitingFor(taskId: string): Promise<string | undefined> {
    const snapshot = (await client.snapshot(taskId)).body as Shown;
    const { items } = (await client.list({ limit: '100' })).body as unknown as { items: readonly Shown[] };
    expect(items.find((item) => item.taskId === taskId)?.waitingFor).toBe(snapshot.waitingFor);
    return snapshot.waitingFor;
  }

  it('is a worker while none of its type lives, and absent while it runs, and is over', async () => {
    const { taskId, taskType } = (await client.create({ clientRequestId: uniqueId(), taskType: uniqueId('waits') }))
      .body as unknown as Lease;
    expect(await waitingFor(taskId)).toBe('worker');
    const lease = await leased();
    expect(await waitingFor(lease.taskId)).toBeUndefined();
    await worker.complete(lease);
    expect(await waitingFor(lease.taskId)).toBeUndefined();
    expect(taskType).toBeUndefined();
  });

  it('is the answer while its question is open', async () => {
    const lease = await leased();
    const { suspendId } = (await worker.suspend(lease, question())).body;
    expect(await waitingFor(lease.taskId)).toBe('answer');
    await client.act(lease.taskId, { clientActionId: 'a', suspendId, actionType: 'approve' });
    await eventually('the worker is known', async () => (await waitingFor(lease.taskId)) === 'capacity');
    await worker.suspend(await worker.lease(lease.taskType), question({ suspendId: 'second' }));
    await client.cancel(lease.taskId);
    expect(await waitingFor(lease.taskId)).toBeUndefined();
  });

  it('is the time of its next attempt, and a free worker when that has come, which is another version of the snapshot', async () => {
    const lease = await leased();
    await worker.fail(lease, { retryable: true, retryAfterMs: 1_500 });
    const early = await client.snapshot(lease.taskId);
    expect((early.body as unknown as Shown).waitingFor).toBe('retry');
    const has = { 'If-None-Match': early.headers.get('etag') ?? '' };
    expect((await client.snapshot(lease.taskId, has)).status).toBe(304);
    await eventually('its time has come', async () => (await waitingFor(lease.taskId)) === 'capacity');
    expect((await client.snapshot(lease.taskId, has)).status).toBe(200);
  });

  it('is an operator when it was set aside', async () => {
    const lease = await leased();
    await rows(`UPDATE taskbridge.proj_tasks SET aside_code = 'STATE_INVALID', lease_token = NULL WHERE task_id = $1`, [
      lease.taskId,
    ]);
    expect(await waitingFor(lease.taskId)).toBe('operator');
    // Its row may say that it is over: it waits all the same.
    await rows(`UPDATE taskbridge.proj_tasks SET status = 'FAILED', finished_at = now() WHERE task_id = $1`, [
      lease.taskId,
    ]);
    expect(await waitingFor(lease.taskId)).toBe('operator');
  });

  it('is a worker when it has a finished step, and no live worker of its type knows steps', async () => {
    const lease = await leased();
    await worker.finishStep(lease, 1, 'load', 1);
    await worker.release(lease);
    // Release 0.1.0 does not know steps, and neither does this worker.
    await worker.claim({ taskTypes: [lease.taskType] });
    expect(await waitingFor(lease.taskId)).toBe('worker');

    const able = new WorkerClient(service.url);
    await able.claim({ taskTypes: [uniqueId('another')], steps: true });
    expect(await waitingFor(lease.taskId)).toBe('worker');
    await able
      .claim({ taskTypes: [lease.taskType], steps: true })
      .then(({ body }) => able.release(body.leases[0] as Lease));
    await eventually('the worker is known', async () => (await waitingFor(lease.taskId)) === 'capacity');

    const unseen = `UPDATE taskbridge.proj_workers SET seen_at = now() - interval '61 seconds' WHERE worker_id = $1`;
    await rows(unseen, [able.workerId]);
    expect(await waitingFor(lease.taskId)).toBe('worker');
    // A busy worker claims nothing.
    const other = lease.taskType;
    await client.create({ clientRequestId: uniqueId(), taskType: other });
    const held = await able.claim({ taskTypes: [other], maxTasks: 2, steps: true });
    expect(held.body.leases).toHaveLength(2);
    const [first, second] = held.body.leases as [Lease, Lease];
    await able.release(first.taskId === lease.taskId ? first : second);
    await rows(unseen, [able.workerId]);
    expect(await waitingFor(lease.taskId)).toBe('capacity');
  });

  it('is the same on a replica without handlers, in the frame of a stream, and after the replica with handlers is gone', async () => {
    const env = { DATABASE_URL: database.appUrl, WORKER_TOKENS: WITH_WORKERS.WORKER_TOKENS };
    const without = await startService({ ...env, EXECUTOR: 'worker' });
    const by = newPrincipal(without.url);
    const sleeping = () => by.create({ clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 60_000 } });
    const shown = async (taskId: string) => {
      const { waitingFor: inSnapshot } = (await by.snapshot(taskId)).body as Shown;
      const reader = followSseAt(`${without.url}/api/v1/tasks/${taskId}/events/stream?from=snapshot`, by.headers);
      await reader.waitFor(({ frames }) => frames.length >= 2);
      reader.close();
      const [, data = '{}'] = /\ndata: (.*)$/.exec(reader.frames[1] ?? '') ?? [];
      expect((JSON.parse(data) as Shown).waitingFor).toBe(inSnapshot);
      return inSnapshot;
    };
    // The service of the other tests may run such tasks, too.
    await service.stop();
    const none = (await sleeping()).body.taskId;
    expect(await shown(none)).toBe('worker');
    const inline = await startService({ ...env, EXECUTOR: 'inline', INLINE_CONCURRENCY: '1' });
    await eventually('the first runs', async () => (await shown(none)) === undefined);
    const next = (await sleeping()).body.taskId;
    expect(await shown(next)).toBe('capacity');
    await by.cancel(none);
    await by.cancel(next);
    await inline.stop();
    const last = (await sleeping()).body.taskId;
    expect(await shown(last)).toBe('worker');
    await without.stop();
  });
});
