import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EVENT_TYPES } from '#protocol/events.js';
import { MAX_RESULT_BYTES, MAX_SENT_FRAME_BYTES } from '#protocol/limits.js';
import { StoredEvent } from '../../src/tasks/domain/stored-event.js';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { connected, storedEnvelopes } from '../support/fold.js';
import { transports } from '../support/follow.js';
import { MultiplexClient } from '../support/multiplex-client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { pythonWith } from '../support/python.js';
import { RemoteTask } from '../support/remote-task.js';
import { type Service, startService } from '../support/service.js';
import { output, question, WITH_WORKERS } from '../support/worker-client.js';

const run = promisify(execFile);
const MEBIBYTE = 1024 * 1024;
const reader = fileURLToPath(new URL('../support/read-frames.py', import.meta.url));
const requirements = fileURLToPath(new URL('../support/read-frames.txt', import.meta.url));

/** A text whose payload `{"result":"…"}` has this number of bytes. */
const resultOf = (payloadBytes: number) => 'x'.repeat(payloadBytes - '{"result":""}'.length);

describe('A frame to a client', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    const settings = {
      ...WITH_WORKERS,
      MAX_EVENT_PAYLOAD_BYTES: String(MAX_RESULT_BYTES),
      MAX_REQUEST_BODY_SIZE_BYTES: '4000000',
    };
    service = await startService({ DATABASE_URL: database.appUrl, ...settings }, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  it('has room for the largest payload of every type, with the largest id', () => {
    for (const type of EVENT_TYPES) {
      const { envelope, eventId } = new StoredEvent(randomUUID(), 2 ** 31 - 1, type, new Date().toISOString(), '');
      const around = Buffer.byteLength(`id: ${eventId}\ndata: ${envelope}\n\n`);
      expect(MAX_RESULT_BYTES + around).toBeLessThanOrEqual(MAX_SENT_FRAME_BYTES);
    }
  });

  it('never exceeds 1 MiB, on any transport, with the largest events, question and result', async () => {
    const task = await RemoteTask.begin(client);
    const live = Object.values(transports).map((follow) => follow(service.url, task.taskId, null, client.headers));
    const many = await MultiplexClient.open(service.url, client.headers);
    many.subscribe(task.taskId);
    const around = JSON.stringify({ channel: 'text', op: 'append', data: '', attempt: 1 }).length;
    await task.append(output('y'.repeat(MAX_RESULT_BYTES - around)));
    await task.suspend(question({ suspendId: 'q', interaction: { text: 'z'.repeat(1_000_000) } }));
    await client.act(task.taskId, { clientActionId: 'a', suspendId: 'q', actionType: 'approve' });
    await task.resume();
    await task.complete(resultOf(MAX_RESULT_BYTES));
    const stored = await storedEnvelopes(database.superuserUrl, task.taskId);
    for (const one of live) {
      await one.end();
      expect(one.events.map(({ raw }) => raw)).toEqual(stored);
    }
    await many.until(() => many.ended(task.taskId));
    expect(many.envelopes(task.taskId)).toEqual(stored);
    const [webSocket, sse] = live;
    for (const frame of [...(webSocket?.frames ?? []), ...(sse?.frames ?? [])]) {
      expect(Buffer.byteLength(frame)).toBeLessThanOrEqual(MEBIBYTE);
    }
    many.leave();
  });

  it.each([
    ['as plain text', resultOf(MAX_RESULT_BYTES + 1)],
    ['as it is stored: an escape has six bytes', '\u2028'.repeat(MAX_RESULT_BYTES / 6)],
  ])('is not made of a result that is too large, counted %s', async (_, result) => {
    const task = await RemoteTask.begin(client);
    await expect(task.complete(result)).rejects.toThrow(/413.*PAYLOAD_TOO_LARGE/);
    await task.complete('smaller');
  });

  it('counts the escapes of an event, too', async () => {
    const small = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS });
    const task = await RemoteTask.begin(newPrincipal(small.url));
    await expect(task.append(output('\u2028'.repeat(11_000)))).rejects.toThrow(/413.*PAYLOAD_TOO_LARGE/);
    await small.stop();
  });

  it('is read by Python’s websockets with its standard limit of 1 MiB', async () => {
    const task = await RemoteTask.begin(client);
    await task.append(output('y'.repeat(1_000_000)));
    await task.complete(resultOf(MAX_RESULT_BYTES));
    const python = await pythonWith('websockets', requirements);
    const url = `${service.url.replace('http', 'ws')}/api/v1/tasks/ws`;
    const headers = JSON.stringify(client.headers);
    const { stdout } = await run(python, [reader, url, task.taskId, headers], { maxBuffer: 4 * MEBIBYTE });
    const lines = stdout.trim().split('\n');
    const stored = await storedEnvelopes(database.superuserUrl, task.taskId);
    expect(lines.slice(1, -1).map(Number)).toEqual(stored.map((raw) => Buffer.byteLength(raw)));
    expect(lines.at(-1)).toBe('closed 1000');
  }, 300_000);

  it('of a result that release 0.1.0 stored is delivered as it is', async () => {
    const taskId = randomUUID();
    const payload = JSON.stringify({ result: resultOf(MEBIBYTE) });
    await connected(database.superuserUrl, async (db) => {
      await db.query(
        `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, status,
           head_event_id, attempt, finished_at, correlation_id)
         VALUES ($1, '', $2, $3, repeat('0', 64), 'demo.echo', 'COMPLETED', 2, 1, now(), $1)`,
        [taskId, client.principal, uniqueId()],
      );
      await db.query(
        `INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
         VALUES ($1, 1, 'TASK_STARTED', '{}', $1, 'x'), ($1, 2, 'TASK_COMPLETED', $2, $1, 'x')`,
        [taskId, payload],
      );
    });
    const stored = await storedEnvelopes(database.superuserUrl, taskId);
    for (const follow of Object.values(transports)) {
      const one = follow(service.url, taskId, null, client.headers);
      await one.end();
      expect(one.events.map(({ raw }) => raw)).toEqual(stored);
    }
    expect((await client.snapshot(taskId)).body).toMatchObject({ status: 'COMPLETED', progress: 100 });
  });

  it('of larger payloads is not allowed by a setting', async () => {
    const env = { DATABASE_URL: database.appUrl, MAX_EVENT_PAYLOAD_BYTES: String(MAX_RESULT_BYTES + 1) };
    await expect(startService(env)).rejects.toThrow(/MAX_EVENT_PAYLOAD_BYTES.*1 to 1048320/s);
  });
});
