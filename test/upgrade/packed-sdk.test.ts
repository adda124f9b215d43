import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, type EventPage, newPrincipal, uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { watched, type WorkerProcess } from '../support/worker.js';
import { WITH_WORKERS, WORKER_TOKEN } from '../support/worker-client.js';
import { unpackedWorkerSdk } from './release-0.1.0.js';

const TYPE = 'packed.sdk';
const PROGRAM = fileURLToPath(new URL('sdk-process.mjs', import.meta.url));

let database: TestDatabase;
let service: Service;
let client: Client;
let worker: WorkerProcess;

beforeAll(async () => {
  database = await createTestDatabase();
  const DATA_DIR = await temporaryDirectory();
  service = await startService({ ...WITH_WORKERS, DATABASE_URL: database.appUrl, DATA_DIR }, { lifetime: 'file' });
  client = newPrincipal(service.url);
  const options = { module: await unpackedWorkerSdk(), url: service.url, token: WORKER_TOKEN, taskTypes: [TYPE] };
  worker = watched(spawn(process.execPath, [PROGRAM, JSON.stringify(options)]));
});

afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

async function create(input: Readonly<Record<string, unknown>>): Promise<string> {
  const { status, body } = await client.create({ clientRequestId: uniqueId(), taskType: TYPE, input });
  expect(status).toBe(201);
  return body.taskId;
}

/** The events so far, once this one is among them. */
function until(taskId: string, type: string): Promise<EventPage['events']> {
  return eventually(`${taskId} has ${type}`, async () => {
    const { body } = await client.events(taskId, { waitTimeoutMs: '0', maxEvents: '500' });
    return body.events.some((event) => event.type === type) && body.events;
  });
}

describe('The worker SDK of 0.1.0, packed, with this build', () => {
  it('claims, appends and completes', async () => {
    const pieces = ['a', 'b 🐙', 'c\u2028', ' and so on'.repeat(100)];
    const events = await until(await create({ pieces }), 'TASK_COMPLETED');
    const data = events.flatMap(({ type, payload }) => (type === 'TASK_OUTPUT' ? [payload['data']] : []));
    expect(data.join('')).toBe(pieces.join(''));
    expect(events.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['TASK_STARTED', 'TASK_PROGRESS', 'TASK_MESSAGE']),
    );
    expect(events.at(-1)?.payload).toEqual({ result: { attempt: 1, bytes: 0 } });
  });

  it('asks, and goes on with the answer', async () => {
    const taskId = await create({ ask: true });
    const [asked] = (await until(taskId, 'TASK_SUSPENDED')).slice(-1);
    const suspendId = String(asked?.payload['suspendId']);
    const answer = { clientActionId: 'tap', suspendId, actionType: 'yes', payload: { why: 'ü' } };
    expect((await client.act(taskId, answer)).status).toBe(202);
    const events = await until(taskId, 'TASK_COMPLETED');
    expect(events.at(-1)?.payload).toMatchObject({ result: { answer: 'yes', said: { why: 'ü' } } });
  });

  it('fails, and tries again', async () => {
    const events = await until(await create({ fail: 1 }), 'TASK_COMPLETED');
    expect(events.map(({ type }) => type)).toContain('TASK_RETRYING');
    expect(events.at(-1)?.payload).toMatchObject({ result: { attempt: 2 } });
  });

  it('obeys a cancellation', async () => {
    const taskId = await create({ wait: true });
    await until(taskId, 'TASK_MESSAGE');
    expect((await client.cancel(taskId, { reason: 'enough' })).status).toBe(202);
    const events = await until(taskId, 'TASK_CANCELLED');
    expect(events.at(-1)?.payload).toEqual({ reason: 'enough' });
  });

  it('hands its tasks back when it stops', async () => {
    const taskId = await create({ wait: true });
    await until(taskId, 'TASK_MESSAGE');
    worker.kill('SIGTERM');
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    const events = await until(taskId, 'TASK_RETRYING');
    expect(events.at(-1)?.payload).toMatchObject({ attempt: 2, reason: 'released' });
  });
});
