import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type Answer, Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { field, file, formOf } from '../support/form.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { chunk, exchange, head, LAST_CHUNK } from '../support/raw-http.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { type Held, type Lease, question, WITH_WORKERS, WORKER_TOKEN, WorkerClient } from '../support/worker-client.js';

const PNG = Buffer.from('89504e470d0a1a0a0000000d4948445200000001000000010806000000', 'hex');
const LIMITS = {
  UPLOAD_MAX_FILE_BYTES: '100000',
  UPLOAD_MAX_FILES: '3',
  UPLOAD_MAX_TOTAL_BYTES: '200000',
  UPLOAD_QUOTA_BYTES: '400000',
};

interface Attachment {
  readonly attachmentId: string;
  readonly filename: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly source?: string;
}

interface Attached extends Attachment {
  readonly leaseExpiresAt: string;
  readonly cancellationRequested: boolean;
}

const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex');

let database: TestDatabase;
let dataDirectory: string;
let service: Service;
let worker: WorkerClient;

beforeAll(async () => {
  [database, dataDirectory] = await Promise.all([createTestDatabase(), temporaryDirectory()]);
  service = await start();
  worker = new WorkerClient(service.url);
});

afterAll(async () => {
  await service.stop();
  await database.drop();
});

function start(env: Record<string, string> = {}): Promise<Service> {
  const settings = { DATABASE_URL: database.appUrl, DATA_DIR: dataDirectory, ...LIMITS, ...WITH_WORKERS, ...env };
  return startService(settings, { lifetime: 'file' });
}

async function rows<Row extends object>(sql: string, values: unknown[] = []): Promise<Row[]> {
  return connected(database.superuserUrl, async (db) => (await db.query<Row>(sql, values)).rows);
}

async function filesOnDisk(): Promise<readonly string[]> {
  const entries = await readdir(join(dataDirectory, 'attachments'), { recursive: true, withFileTypes: true }).catch(
    () => [],
  );
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

/** Everything in the store is a file of a task, every file of a task is in the store, and nothing is on its way. */
async function expectNoOrphans(): Promise<void> {
  await eventually('nothing in the store is nobody’s', async () => {
    const attachments = await rows<{ attachment_id: string }>('SELECT attachment_id FROM taskbridge.proj_attachments');
    const uploads = await rows('SELECT FROM taskbridge.proj_uploads');
    const known = attachments.map((row) => row.attachment_id).sort();
    return uploads.length === 0 && JSON.stringify((await filesOnDisk()).toSorted()) === JSON.stringify(known);
  });
}

interface Leased {
  readonly client: Client;
  readonly lease: Lease;
}

async function leased(client = newPrincipal(service.url), by = worker): Promise<Leased> {
  const taskType = uniqueId('files');
  await client.create({ clientRequestId: uniqueId(), taskType });
  return { client, lease: await by.lease(taskType) };
}

interface Sent {
  readonly type?: string | undefined;
  readonly url?: string;
  readonly headers?: Record<string, string>;
}

function attach(
  { taskId, leaseToken }: Held,
  filename: string,
  bytes: string | Buffer,
  { type, url = service.url, headers = {} }: Sent = {},
): Promise<Answer<Attached>> {
  const path = `/worker/v1/tasks/${taskId}/attachments?filename=${encodeURIComponent(filename)}`;
  return newPrincipal(url).request('POST', path, {
    headers: {
      Authorization: `Bearer ${WORKER_TOKEN}`,
      'X-Lease-Token': leaseToken,
      ...(type !== undefined && { 'Content-Type': type }),
      ...headers,
    },
    // Text would have a type of its own.
    body: new Uint8Array(Buffer.from(bytes as string)),
  });
}

async function attachmentsOf({ lease }: Pick<Leased, 'lease'>, by: Client): Promise<readonly Attachment[]> {
  const { body } = await by.snapshot(lease.taskId);
  return (body as unknown as { attachments: readonly Attachment[] }).attachments;
}

const download = ({ client, lease }: Leased, { attachmentId }: Pick<Attachment, 'attachmentId'>) =>
  client.request<{ code: string }>('GET', `/api/v1/tasks/${lease.taskId}/attachments/${attachmentId}`);

async function again({ client, lease }: Leased): Promise<Leased> {
  await worker.release(lease);
  return { client, lease: await worker.lease(lease.taskType) };
}

describe('A file of a worker', () => {
  afterEach(expectNoOrphans);

  it('is listed with its source, changes the version of the snapshot, and is downloaded by the owner alone', async () => {
    const task = await leased();
    const before = await task.client.snapshot(task.lease.taskId);
    const { status, body } = await attach(task.lease, 'Übersicht.png', PNG, { type: 'image/x-png' });
    expect(status).toBe(200);
    const { leaseExpiresAt, cancellationRequested, ...stored } = body;
    expect(stored).toEqual({
      attachmentId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      filename: 'Übersicht.png',
      contentType: 'image/png',
      sizeBytes: PNG.length,
      sha256: sha256(PNG),
      source: 'worker',
    });
    expect([Date.parse(leaseExpiresAt) >= Date.parse(task.lease.leaseExpiresAt), cancellationRequested]).toEqual([
      true,
      false,
    ]);
    const after = await task.client.snapshot(task.lease.taskId);
    expect(after.headers.get('etag')).not.toBe(before.headers.get('etag'));
    expect(await attachmentsOf(task, task.client)).toEqual([stored]);
    const answer = await fetch(`${service.url}/api/v1/tasks/${task.lease.taskId}/attachments/${stored.attachmentId}`, {
      headers: task.client.headers,
    });
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(PNG);
    const stranger = { ...task, client: newPrincipal(service.url) };
    expectError(await download(stranger, stored), 404, 'TASK_NOT_FOUND');
    expect((await task.client.events(task.lease.taskId, { waitTimeoutMs: '0' })).body.events).toHaveLength(1);
  });

  it('stands behind those of the create, and is in the next lease', async () => {
    const client = newPrincipal(service.url);
    const taskType = uniqueId('files');
    const form = formOf([field('clientRequestId', 'one'), field('taskType', taskType), file('a.txt', 'sent')]);
    expect((await client.request('POST', '/api/v1/tasks', { headers: form.headers, body: form.body })).status).toBe(
      201,
    );
    const task = { client, lease: await worker.lease(taskType) };
    // The name of a file of the create is free for the worker.
    expect((await attach(task.lease, 'a.txt', 'made', { type: 'text/plain' })).status).toBe(200);
    expect((await attachmentsOf(task, task.client)).map(({ filename, source }) => [filename, source])).toEqual([
      ['a.txt', undefined],
      ['a.txt', 'worker'],
    ]);
    const { lease } = await again(task);
    expect(lease.attachments).toEqual(
      (await attachmentsOf(task, task.client)).map((one) => expect.objectContaining({ ...one })),
    );
    const [, made] = lease.attachments as readonly { url: string }[];
    const read = await fetch(service.url + made?.url, { headers: { 'X-Lease-Token': lease.leaseToken } });
    expect(await read.text()).toBe('made');
  });

  it('is no part of the request that made the task, also of a task that release 0.1.0 stored', async () => {
    const client = newPrincipal(service.url);
    const body = { clientRequestId: uniqueId(), taskType: uniqueId('files') };
    const { taskId } = (await client.create(body)).body;
    const lease = await worker.lease(body.taskType);
    await attach(lease, 'a.txt', 'made');
    // As if release 0.1.0 had stored it.
    await rows('UPDATE taskbridge.proj_tasks SET content_fingerprint = NULL WHERE task_id = $1', [taskId]);
    const repeated = await client.create(body);
    expect([repeated.status, repeated.body.taskId]).toEqual([200, taskId]);
  });

  it('is the same file when the same bytes come again, also from a later attempt', async () => {
    const task = await leased();
    const first = (await attach(task.lease, 'a.csv', 'a,b\n', { type: 'text/csv' })).body;
    const next = await again(task);
    for (const { lease } of [next, next]) {
      const { status, body } = await attach(lease, 'a.csv', 'a,b\n', { type: 'text/csv' });
      expect([status, body.attachmentId]).toEqual([200, first.attachmentId]);
    }
    expect(await attachmentsOf(task, task.client)).toHaveLength(1);
  });

  it('is replaced by other bytes under its name, and its bytes leave the store', async () => {
    const task = await leased();
    const first = (await attach(task.lease, 'a.txt', 'one', { type: 'text/plain' })).body;
    const { body } = await attach(task.lease, 'a.txt', 'two', { type: 'text/plain' });
    expect(await attachmentsOf(task, task.client)).toEqual([
      expect.objectContaining({ attachmentId: body.attachmentId }),
    ]);
    expectError(await download(task, first), 404, 'NOT_FOUND');
    expect((await download(task, body)).text).toBe('two');
    await eventually(
      'the earlier bytes are gone',
      async () => !(await filesOnDisk()).includes(first.attachmentId),
      40_000,
    );
  }, 60_000);

  it('is one file when it is sent many times at once', async () => {
    const task = await leased();
    const answers = await Promise.all(Array.from({ length: 12 }, () => attach(task.lease, 'a.txt', 'same')));
    expect(answers.map(({ status }) => status)).toEqual(Array(12).fill(200));
    expect(await attachmentsOf(task, task.client)).toHaveLength(1);
  });

  it('stays when the task waits, fails and is over', async () => {
    const task = await leased();
    const { body } = await attach(task.lease, 'a.txt', 'made');
    await worker.suspend(task.lease, question());
    expect((await download(task, body)).text).toBe('made');
    await task.client.cancel(task.lease.taskId);
    expect((await download(task, body)).text).toBe('made');
  });

  it.each<[string, string | undefined, string | Buffer, string]>([
    ['its declared type', 'text/markdown; charset=utf-8', '# a', 'text/markdown'],
    ['that of its bytes without one', undefined, PNG, 'image/png'],
    [
      'that of its name, when curl or Python say that it is a form',
      'application/x-www-form-urlencoded',
      'a,b\n',
      'text/csv',
    ],
    ['JSON, which is a file like any other', 'application/json', '{"a":', 'application/json'],
    ['that of an empty file', undefined, '', 'text/csv'],
  ])('has %s', async (_what, type, bytes, contentType) => {
    const task = await leased();
    const { status, body } = await attach(task.lease, 'file.csv', bytes, { type });
    expect([status, body.contentType, body.sizeBytes]).toEqual([200, contentType, Buffer.from(bytes as string).length]);
  });

  it.each<[string, string, string | Buffer, Sent, number, string]>([
    ['a path', '../a.txt', 'x', {}, 400, 'UPLOAD_VALIDATION_ERROR'],
    ['a line end in its name', 'a\r\nb.txt', 'x', {}, 400, 'UPLOAD_VALIDATION_ERROR'],
    ['a name of dots', '..', 'x', {}, 400, 'UPLOAD_VALIDATION_ERROR'],
    ['no name', '', 'x', {}, 400, 'INVALID_REQUEST'],
    ['a name that is too long', 'n'.repeat(256), 'x', {}, 400, 'INVALID_REQUEST'],
    ['a name of too many bytes', 'ü'.repeat(200), 'x', {}, 400, 'UPLOAD_VALIDATION_ERROR'],
    ['a byte too many', 'a', 'a'.repeat(100_001), {}, 413, 'PAYLOAD_TOO_LARGE'],
    ['bytes of another type', 'a.html', PNG, { type: 'text/html' }, 400, 'UPLOAD_VALIDATION_ERROR'],
    ['a form', 'a', 'x', { type: 'multipart/form-data; boundary=b' }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['compression', 'a', 'x', { headers: { 'Content-Encoding': 'gzip' } }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['no lease', 'a', 'x', { headers: { 'X-Lease-Token': '' } }, 409, 'LEASE_LOST'],
    ['the token of another lease', 'a', 'x', { headers: { 'X-Lease-Token': '1.invented' } }, 409, 'LEASE_LOST'],
    ['no token of a worker', 'a', 'x', { headers: { Authorization: 'Bearer nobody' } }, 401, 'AUTHENTICATION_ERROR'],
  ])('with %s is refused and leaves nothing', async (_what, filename, bytes, sent, status, code) => {
    const task = await leased();
    expectError(await attach(task.lease, filename, bytes, sent), status, code);
    expect(await attachmentsOf(task, task.client)).toEqual([]);
  });

  it('needs the header with the lease, and takes no other parameters', async () => {
    const { lease } = await leased();
    const path = `/worker/v1/tasks/${lease.taskId}/attachments?filename=a`;
    const headers = { Authorization: `Bearer ${WORKER_TOKEN}` };
    const client = newPrincipal(service.url);
    expectError(await client.request('POST', path, { headers, body: 'x' }), 400, 'INVALID_REQUEST');
    const proven = { ...headers, 'X-Lease-Token': lease.leaseToken };
    for (const more of [`&leaseToken=${lease.leaseToken}`, '&filename=b'])
      expectError(await client.request('POST', path + more, { headers: proven, body: 'x' }), 400, 'INVALID_REQUEST');
  });

  it('is one of at most three, and of a bounded number of bytes together; those that are replaced do not count', async () => {
    const task = await leased();
    for (const name of ['a', 'b', 'c']) expect((await attach(task.lease, name, name)).status).toBe(200);
    expectError(await attach(task.lease, 'd', 'd'), 400, 'UPLOAD_VALIDATION_ERROR');
    for (const name of ['a', 'b']) expect((await attach(task.lease, name, name.repeat(99_000))).status).toBe(200);
    expectError(await attach(task.lease, 'c', 'c'.repeat(2_001)), 413, 'PAYLOAD_TOO_LARGE');
    expect((await attach(task.lease, 'c', 'c'.repeat(2_000))).status).toBe(200);
  });

  it('counts towards the quota of the owner, also when many come at once', async () => {
    const client = newPrincipal(service.url);
    const tasks = await Promise.all(Array.from({ length: 8 }, () => leased(client)));
    const answers = await Promise.all(tasks.map(({ lease }, n) => attach(lease, 'a', String(n).repeat(90_000))));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 200, 403, 403, 403, 403]);
    const refused = answers.find(({ status }) => status === 403);
    if (refused) expectError(refused, 403, 'UPLOAD_FORBIDDEN');
    const other = await leased();
    expect((await attach(other.lease, 'a', 'x')).status).toBe(200);
  });

  it('is refused before an endless body is read', async () => {
    const { lease } = await leased();
    const { port } = new URL(service.url);
    const line = `POST /worker/v1/tasks/${lease.taskId}/attachments?filename=a`;
    const headers = { Authorization: `Bearer ${WORKER_TOKEN}`, 'Transfer-Encoding': 'chunked' };
    const stale = await exchange(Number(port), head(line, { ...headers, 'X-Lease-Token': '1.stale' }), chunk('begun'));
    expect([stale.status, JSON.parse(stale.body).code]).toEqual([409, 'LEASE_LOST']);
    const announced = { Authorization: headers.Authorization, 'X-Lease-Token': lease.leaseToken };
    const large = await exchange(Number(port), head(line, { ...announced, 'Content-Length': 5_000_000 }), 'begun');
    expect(large.status).toBe(413);
  });

  it('is not attached when the lease is lost while the bytes arrive', async () => {
    for (const how of ['complete', 'release', 'expire'] as const) {
      const task = await leased();
      const { taskId, leaseToken } = task.lease;
      const before = (await filesOnDisk()).length;
      const begun = Promise.withResolvers<void>();
      const body = new ReadableStream<Uint8Array>({
        async start(controller) {
          controller.enqueue(randomBytes(50_000));
          await begun.promise;
          controller.enqueue(Buffer.from('the end'));
          controller.close();
        },
      });
      const path = `${service.url}/worker/v1/tasks/${taskId}/attachments?filename=a`;
      const headers = { Authorization: `Bearer ${WORKER_TOKEN}`, 'X-Lease-Token': leaseToken };
      const sent = fetch(path, { method: 'POST', headers, body, duplex: 'half' } as RequestInit);
      await eventually('its bytes arrive', async () => (await filesOnDisk()).length > before);
      if (how === 'complete') await worker.complete(task.lease);
      else if (how === 'release') await worker.release(task.lease);
      else
        await rows('UPDATE taskbridge.proj_tasks SET lease_expires_at = clock_timestamp() WHERE task_id = $1', [
          taskId,
        ]);
      begun.resolve();
      const answer = await sent;
      expect([how, answer.status, ((await answer.json()) as { code: string }).code]).toEqual([how, 409, 'LEASE_LOST']);
      expect(await attachmentsOf(task, task.client)).toEqual([]);
    }
  });

  it('leaves nothing when its body is cut off', async () => {
    const task = await leased();
    const { port } = new URL(service.url);
    const line = `POST /worker/v1/tasks/${task.lease.taskId}/attachments?filename=a`;
    const headers = {
      Authorization: `Bearer ${WORKER_TOKEN}`,
      'X-Lease-Token': task.lease.leaseToken,
      'Transfer-Encoding': 'chunked',
    };
    const malformed = await exchange(Number(port), head(line, headers), chunk(randomBytes(30_000)), 'no chunk\r\n');
    expect(malformed.status).toBe(400);
    const whole = await exchange(Number(port), head(line, headers), chunk('x'), LAST_CHUNK);
    expect(whole.status).toBe(200);
    expect(await attachmentsOf(task, task.client)).toHaveLength(1);
    expect(service.stdout()).not.toMatch(/"level":"error"/);
  });

  it('goes with its task', async () => {
    const task = await leased();
    const { body } = await attach(task.lease, 'a.txt', 'made');
    await worker.complete(task.lease);
    await rows('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [task.lease.taskId]);
    await eventually('its bytes are gone', async () => !(await filesOnDisk()).includes(body.attachmentId), 40_000);
  }, 60_000);
});

describe('A service that is killed', () => {
  it('between the bytes of a worker’s file and its row leaves bytes that the next one removes', async () => {
    const proxy = await PostgresProxy.start(database.appUrl);
    const own = await start({ DATABASE_URL: proxy.url, UPLOAD_MAX_FILES: '3' });
    const task = await leased(newPrincipal(own.url), new WorkerClient(own.url));
    const before = new Set(await filesOnDisk());
    const { held } = proxy.holdCommit(({ sql }) => /attach-file|proj_attachments \(task_id/.test(sql));
    const sent = attach(task.lease, 'a.txt', 'the bytes', { url: own.url }).catch(() => 'no answer');
    await held;
    own.kill('SIGKILL');
    await own.exited;
    expect(await sent).toBe('no answer');
    await proxy.close();
    const left = (await filesOnDisk()).filter((name) => !before.has(name));
    expect(left).toHaveLength(1);
    const owner = new Client(service.url, task.client.principal);
    await eventually('PostgreSQL has ended the transaction', async () => {
      await rows("UPDATE taskbridge.proj_uploads SET touched_at = now() - interval '61 minutes'");
      return (await attachmentsOf(task, owner)).length === 0;
    });
    const next = await start();
    await expectNoOrphans();
    expect(await filesOnDisk()).not.toContain(left[0]);
    await next.stop();
  });
});

describe('A service without an attachment store', () => {
  it('refuses files of workers with 415', async () => {
    const own = await start({ ATTACHMENT_STORE: 'none' });
    const task = await leased(newPrincipal(own.url), new WorkerClient(own.url));
    expectError(await attach(task.lease, 'a', 'x', { url: own.url }), 415, 'UNSUPPORTED_MEDIA_TYPE');
    await own.stop();
  });
});
