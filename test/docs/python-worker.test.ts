import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, expectFieldErrors, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, storedEnvelopes } from '../support/fold.js';
import { followWebSocket } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { textsOf } from '../support/texts.js';
import { watched, WORKER_ENV, WORKER_TOKEN, type WorkerProcess } from '../support/worker.js';

const program = fileURLToPath(new URL('../../examples/python-worker/worker.py', import.meta.url));

describe('examples/python-worker', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;
  let worker: WorkerProcess;

  const env = () => ({ DATABASE_URL: database.appUrl, ...WORKER_ENV, LEASE_SECONDS: '3' });
  const start = (more: Record<string, string> = {}) => {
    const variables = { PATH: process.env['PATH'], TASKBRIDGE_URL: service.url, WORKER_TOKEN, ...more };
    return watched(spawn('python3', [program], { env: variables, stdio: ['ignore', 'pipe', 'pipe'] }));
  };
  const created = async (input: object, taskType = 'python.count') => {
    const body = { clientRequestId: uniqueId(), taskType, input: { ...input } };
    return (await client.create(body)).body.taskId;
  };
  const logOf = async (taskId: string) =>
    (await storedEnvelopes(database.superuserUrl, taskId)).map(
      (raw) => JSON.parse(raw) as { type: string; payload: Record<string, unknown> },
    );
  const ended = async (taskId: string) => {
    await followWebSocket(client.url, taskId, null, client.headers).end(20_000);
    return logOf(taskId);
  };
  const saysSomething = (taskId: string) =>
    eventually('some output', async () => (await logOf(taskId)).some(({ type }) => type === 'TASK_OUTPUT'));

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService(env(), { lifetime: 'file' });
    client = newPrincipal(service.url);
    worker = start();
  });

  afterEach(() => checkInvariants(database.superuserUrl));

  afterAll(async () => {
    worker.kill('SIGKILL');
    await service.stop();
    await database.drop();
  });

  it('goes on after a kill behind the last finished step, and shows no text twice', async () => {
    const taskId = await created({ numbers: [1, 2, 3, 4], everyMs: 300 }, 'python.add');
    await eventually(
      'two steps',
      async () => (await logOf(taskId)).filter(({ type }) => type === 'TASK_STEP').length >= 2,
    );
    worker.kill('SIGKILL');
    await worker.exited;
    worker = start();
    const events = await ended(taskId);
    expect(events.at(-1)?.payload).toEqual({ result: { total: 10, attempt: 2 } });
    const steps = events.flatMap(({ type, payload }) => (type === 'TASK_STEP' ? [payload['key']] : []));
    expect(steps).toEqual(['add#0', 'add#1', 'add#2', 'add#3']);
    expect(textsOf(events)).toEqual({ text: '+1+2+3+4' });
  });

  it('executes a task', async () => {
    const events = await ended(await created({ to: 3, everyMs: 10 }));
    expect(events.map(({ type, payload }) => [type, payload])).toEqual([
      ['TASK_STARTED', {}],
      ...[1, 2, 3].flatMap((n) => [
        ['TASK_OUTPUT', { channel: 'text', op: 'append', data: `${n} `, attempt: 1 }],
        ['TASK_PROGRESS', { progress: (100 * n) / 3 }],
      ]),
      ['TASK_COMPLETED', { result: { counted: 3, attempt: 1 } }],
    ]);
  });

  it('asks, and goes on with an answer that fits its schema', async () => {
    const taskId = await created({}, 'python.publish');
    await eventually('it has asked', async () => (await logOf(taskId)).some(({ type }) => type === 'TASK_SUSPENDED'));
    const answer = { suspendId: 'publish', actionType: 'approve' };
    const refused = await client.act(taskId, { ...answer, clientActionId: 'a', payload: { to: 'nobody' } });
    expect(expectFieldErrors(refused).map(({ path }) => path)).toEqual(['payload.to']);
    await client.act(taskId, { ...answer, clientActionId: 'b', payload: { to: 'me' } });
    expect((await ended(taskId)).at(-1)?.payload).toEqual({ result: { decision: 'approve', to: 'me' } });
  });

  it('attaches a file in a step', async () => {
    const body = { clientRequestId: uniqueId(), taskType: 'python.table', input: { rows: 20_000 } };
    const { taskId } = (await client.create(body)).body;
    const { result } = (await ended(taskId)).at(-1)?.payload as { result: { attachmentId: string } };
    const path = `/api/v1/tasks/${taskId}/attachments/${result.attachmentId}`;
    const { text, headers } = await client.request('GET', path);
    expect([text.split('\n').length, headers.get('content-type')]).toEqual([20_001, 'text/csv']);
  });

  it('loses no digit of an integer on the way', async () => {
    const input = '{"id":9007199254740993,"ids":[9223372036854775807,-9007199254740993],"tenth":0.1}';
    const { body } = await client.request<{ taskId: string }>('POST', '/api/v1/tasks', {
      headers: { 'Content-Type': 'application/json' },
      body: `{"clientRequestId":"${uniqueId()}","taskType":"python.echo","input":${input}}`,
    });
    await ended(body.taskId);
    expect((await storedEnvelopes(database.superuserUrl, body.taskId)).at(-1)).toContain(`"result":${input}`);
  });

  it('keeps its lease alive while it has nothing to say', async () => {
    const events = await ended(await created({ to: 1, everyMs: 5_000 }));
    expect(events.map(({ type }) => type)).not.toContain('TASK_RETRYING');
  });

  it('obeys a cancellation', async () => {
    const taskId = await created({ to: 1_000, everyMs: 50 });
    await saysSomething(taskId);
    await client.cancel(taskId, { reason: 'enough' });
    expect((await ended(taskId)).at(-1)).toMatchObject({ type: 'TASK_CANCELLED', payload: { reason: 'enough' } });
  });

  it('hears of a cancellation while its lease is long and its handler silent', async () => {
    worker.kill('SIGKILL');
    await worker.exited;
    worker = start({ LEASE_SECONDS: '600' });
    const taskId = await created({ to: 1, everyMs: 600_000 });
    await eventually('it is leased', async () => (await logOf(taskId)).length > 0);
    await client.cancel(taskId, { reason: 'enough' });
    const events = await ended(taskId);
    // The service itself would say that it forced the end.
    expect(events.at(-1)).toMatchObject({ type: 'TASK_CANCELLED', payload: { reason: 'enough' } });
    expect(events.at(-1)?.payload['message']).toBeUndefined();
  });

  it('writes from several threads, each event once', async () => {
    const events = await ended(await created({ pages: 12, everyMs: 1 }, 'python.read'));
    const messages = events.flatMap(({ payload }) => payload['message'] ?? []);
    expect([...messages].sort()).toEqual(Array.from({ length: 12 }, (_, i) => `page ${i + 1} is read`).sort());
    expect(events.at(-1)?.payload).toEqual({ result: { pages: 12 } });
  });

  it('fails an attempt that raises, and tells clients nothing of why', async () => {
    const events = await ended(await created({ to: 'a secret' }));
    expect(events.at(-1)?.payload).toEqual({ code: 'HANDLER_ERROR', message: 'The handler failed.', retryable: true });
    expect(worker.stderr()).toContain("invalid literal for int() with base 10: 'a secret'");
  });

  it('goes on when the service is killed and started again', async () => {
    const taskId = await created({ to: 40, everyMs: 50 });
    await saysSomething(taskId);
    service.kill('SIGKILL');
    await service.exited;
    service = await startService({ ...env(), PORT: new URL(service.url).port }, { lifetime: 'file' });
    const events = await ended(taskId);
    expect(events.at(-1)?.payload['result']).toMatchObject({ counted: 40 });
  });

  it('hands its task back on SIGTERM, and exits', async () => {
    const taskId = await created({ to: 20, everyMs: 100 });
    await saysSomething(taskId);
    worker.kill('SIGTERM');
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    worker = start();
    const events = await ended(taskId);
    expect(events.find(({ type }) => type === 'TASK_RETRYING')?.payload).toMatchObject({ reason: 'released' });
    expect(events.at(-1)?.payload).toEqual({ result: { counted: 20, attempt: 2 } });
  });

  it('exits on SIGTERM while it waits for work', async () => {
    await ended(await created({ to: 1, everyMs: 1 }));
    worker.kill('SIGTERM');
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect(worker.stderr()).toBe('');
  });
});
