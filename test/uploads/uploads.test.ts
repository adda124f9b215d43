import { createHash, randomBytes } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type Answer,
  Client,
  type Created,
  expectError,
  expectFieldErrors,
  newPrincipal,
  uniqueId,
} from '../support/client.js';
import { connected } from '../support/fold.js';
import { type Form, field, file, formOf, type Part } from '../support/form.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Matcher, PostgresProxy } from '../support/postgres-proxy.js';
import { chunk, exchange, head, LAST_CHUNK } from '../support/raw-http.js';
import { S3_CREDENTIALS, startS3Server } from '../support/s3-server.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';

const PNG = Buffer.from('89504e470d0a1a0a0000000d4948445200000001000000010806000000', 'hex');
const LIMITS = {
  UPLOAD_MAX_FILE_BYTES: '100000',
  UPLOAD_MAX_FILES: '3',
  UPLOAD_MAX_TOTAL_BYTES: '200000',
  UPLOAD_QUOTA_BYTES: '500000',
};

interface Attachment {
  readonly attachmentId: string;
  readonly filename: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

interface Snapshot {
  readonly status: string;
  readonly input: unknown;
  readonly metadata: unknown;
  readonly attachments: readonly Attachment[];
  readonly result?: unknown;
}

const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex');

let database: TestDatabase;
let dataDirectory: string;
let service: Service;

beforeAll(async () => {
  [database, dataDirectory] = await Promise.all([createTestDatabase(), temporaryDirectory()]);
  service = await start();
});

afterAll(async () => {
  await service.stop();
  await database.drop();
});

/** Starts a service on the same database and directory, so it sees what an earlier one left behind. */
function start(env: Record<string, string> = {}): Promise<Service> {
  const settings = { DATABASE_URL: database.appUrl, DATA_DIR: dataDirectory, ...LIMITS, ...env };
  return startService(settings, { lifetime: 'file' });
}

async function rows<Row extends object>(sql: string, values: unknown[] = []): Promise<Row[]> {
  return connected(database.superuserUrl, async (db) => (await db.query<Row>(sql, values)).rows);
}

async function filesOnDisk(): Promise<string[]> {
  const entries = await readdir(join(dataDirectory, 'attachments'), { recursive: true, withFileTypes: true }).catch(
    () => [],
  );
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

/** Everything in the store belongs to a task, everything that a task has is in the store, and nothing is in between. */
async function expectNoOrphans(): Promise<void> {
  const attachments = await rows<{ attachment_id: string }>('SELECT attachment_id FROM taskbridge.proj_attachments');
  const known = attachments.map((row) => row.attachment_id);
  expect((await filesOnDisk()).sort()).toEqual(known.sort());
  expect(await rows('SELECT attachment_id FROM taskbridge.proj_uploads')).toEqual([]);
}

function send(client: Client, { headers, body }: Form, more: Record<string, string> = {}): Promise<Answer<Created>> {
  return client.request('POST', '/api/v1/tasks', { headers: { ...headers, ...more }, body });
}

/** The fields that a create cannot do without, and what the test is about. */
const create = (...parts: readonly Part[]): Form =>
  formOf([field('clientRequestId', uniqueId()), field('taskType', 'demo.echo'), ...parts]);

async function snapshotOf(client: Client, { body: { taskId } }: Answer<Created>): Promise<Snapshot> {
  return (await client.snapshot(taskId)).body as unknown as Snapshot;
}

const somebody = () => newPrincipal(service.url);

describe('A multipart create', () => {
  afterEach(expectNoOrphans);

  const parts = {
    key: field('clientRequestId', 'the-key'),
    taskType: field('taskType', 'demo.attachments'),
    input: field('input', '{"a":[1,{"b":null}]}'),
    metadata: field('metadata', '{"from":"a form"}'),
    first: file('first.txt', 'the first file'),
    second: file('second.png', PNG, 'image/png', 'attachments'),
    third: file('third.bin', randomBytes(70_000), 'application/octet-stream', 'attachment'),
  };
  const { key, taskType, input, metadata, first, second, third } = parts;

  it.each<[string, readonly Part[]]>([
    ['fields first', [key, taskType, input, metadata, first, second, third]],
    ['files first', [first, second, third, metadata, input, taskType, key]],
    ['fields between files', [first, key, input, second, taskType, third, metadata]],
  ])('stores its files with %s', async (_order, order) => {
    const client = somebody();
    const answer = await send(client, formOf(order));
    expect([answer.status, answer.body.clientRequestId, answer.body.deduplicated]).toEqual([201, 'the-key', false]);
    expect(answer.headers.get('location')).toBe(`tasks/${answer.body.taskId}`);
    const { attachments, ...snapshot } = await snapshotOf(client, answer);
    expect(snapshot).toMatchObject({ input: { a: [1, { b: null }] }, metadata: { from: 'a form' } });
    const id = expect.stringMatching(/^[0-9a-f-]{36}$/);
    expect(attachments).toEqual([
      {
        attachmentId: id,
        filename: 'first.txt',
        contentType: 'text/plain',
        sizeBytes: 14,
        sha256: sha256('the first file'),
      },
      {
        attachmentId: id,
        filename: 'second.png',
        contentType: 'image/png',
        sizeBytes: PNG.length,
        sha256: sha256(PNG),
      },
      {
        attachmentId: id,
        filename: 'third.bin',
        contentType: 'application/octet-stream',
        sizeBytes: 70_000,
        sha256: sha256(third.value),
      },
    ]);
    const { items } = (await client.list()).body as unknown as { items: readonly Snapshot[] };
    expect(items.map((item) => item.attachments)).toEqual([attachments]);
  });

  it('lets a handler read what was stored', async () => {
    const client = somebody();
    const answer = await send(client, formOf([key, taskType, first, third]));
    const { result } = await eventually('it completes', async () => {
      const snapshot = await snapshotOf(client, answer);
      return snapshot.status === 'COMPLETED' && snapshot;
    });
    expect(result).toEqual({
      attachments: [
        { filename: 'first.txt', contentType: 'text/plain', sizeBytes: 14, sha256: sha256('the first file') },
        {
          filename: 'third.bin',
          contentType: 'application/octet-stream',
          sizeBytes: 70_000,
          sha256: sha256(third.value),
        },
      ],
    });
  });

  it('that is repeated is the same task, and its files are not stored again', async () => {
    const client = somebody();
    const created = await send(client, formOf([key, taskType, input, first, second]));
    const before = await filesOnDisk();
    const repeat = await send(
      client,
      formOf([second, input, taskType, key].toReversed().concat(first).with(3, first).with(4, second)),
    );
    expect([repeat.status, repeat.body.taskId, repeat.body.deduplicated]).toEqual([200, created.body.taskId, true]);
    expect(repeat.headers.get('idempotent-replayed')).toBe('true');
    expect((await filesOnDisk()).sort()).toEqual(before.sort());
  });

  it('that is sent many times at once is one task with one set of files', async () => {
    const client = somebody();
    const answers = await Promise.all(
      Array.from({ length: 25 }, () => send(client, formOf([key, taskType, first, second]))),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(24).fill(200), 201]);
    expect(new Set(answers.map(({ body }) => body.taskId)).size).toBe(1);
    expect((await snapshotOf(client, answers[0] as Answer<Created>)).attachments).toHaveLength(2);
  });

  it.each<[string, readonly Part[]]>([
    ['another byte', [file('first.txt', 'the first filE'), second]],
    ['another name', [file('1st.txt', 'the first file'), second]],
    ['another type', [file('first.txt', 'the first file', 'text/markdown'), second]],
    ['another order', [second, first]],
    ['a file more', [first, second, third]],
    ['a file less', [first]],
    ['no file', []],
  ])('with %s is another request, and refused under the same key', async (_what, files) => {
    const client = somebody();
    await send(client, formOf([key, taskType, first, second]));
    expectError(await send(client, formOf([key, taskType, ...files])), 409, 'IDEMPOTENCY_CONFLICT');
  });

  it.each<[string, string, string]>([
    [
      'UTF-8, as browsers, curl and OkHttp send it',
      'filename="caf\u00c3\u00a9 \u00e2\u0082\u00ac.txt"',
      'caf\u00e9 \u20ac.txt',
    ],
    ['ISO 8859-1, as old encoders send it', 'filename="caf\u00e9.txt"', 'caf\u00e9.txt'],
    ['windows-1252, as pages in ISO 8859-1 send it', 'filename="5 \u0080.txt"', '5 \u20ac.txt'],
    [
      'UTF-8 in filename*, as Python requests sends it',
      "filename*=utf-8''caf%C3%A9%20%E2%82%AC.txt",
      'caf\u00e9 \u20ac.txt',
    ],
    ['ISO 8859-1 in filename*', "filename*=ISO-8859-1''caf%E9.txt", 'caf\u00e9.txt'],
    ['filename*, whose text looks like UTF-8 in ISO 8859-1', "filename*=UTF-8''%C3%83%C2%A9.txt", '\u00c3\u00a9.txt'],
    ['filename* with a control of ISO 8859-1', "filename*=UTF-8''5%20%C2%A4.txt", '5 \u00a4.txt'],
    ['both forms, of which filename* wins', `filename="caf_.txt"; filename*=UTF-8''caf%C3%A9.txt`, 'caf\u00e9.txt'],
    ['a quote as browsers escape it', 'filename="a%22b.txt"', 'a%22b.txt'],
  ])('reads the name of a file in %s, and gives it back in both forms', async (_, filename, name) => {
    const client = somebody();
    const disposition = `form-data; name="attachment"; ${filename}`;
    const { headers, body } = create({ name: 'attachment', value: 'text', disposition, type: 'text/plain' });
    // Each character of the head is a byte.
    const bytes = Buffer.from(body.toString('utf8'), 'latin1');
    const answer = await send(client, { headers, body: bytes });
    expect(answer.status).toBe(201);
    const [attachment] = (await snapshotOf(client, answer)).attachments;
    expect(attachment?.filename).toBe(name);
    const path = `/api/v1/tasks/${answer.body.taskId}/attachments/${attachment?.attachmentId}`;
    const { headers: given } = await fetch(client.url + path, { headers: client.headers });
    const disposed = given.get('content-disposition') ?? '';
    expect(disposed).toMatch(/^attachment; filename="[ -~]+"/);
    const extended = /filename\*=UTF-8''(.*)$/.exec(disposed)?.[1];
    expect(decodeURIComponent(extended ?? '')).toBe(name);
  });

  it.each([
    ['application/x-photoshop', '8BPS\0\x01', 'image/vnd.adobe.photoshop'],
    ['image/vnd.adobe.photoshop', '8BPS\0\x01', 'image/vnd.adobe.photoshop'],
    ['audio/x-pn-wav', 'RIFF\0\0\0\0WAVEfmt ', 'audio/wav'],
    ['application/x-zip-compressed', 'PK\x03\x04\x14\0\0\0\0\0'.padEnd(80, '\0'), 'application/zip'],
    ['image/jpg', '\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01', 'image/jpeg'],
  ])('takes %s for what the bytes are', async (claim, bytes, type) => {
    const client = somebody();
    const answer = await send(client, create(file('a', Buffer.from(bytes, 'latin1'), claim)));
    expect([answer.status, (await snapshotOf(client, answer)).attachments[0]?.contentType]).toEqual([201, type]);
  });

  it.each<[string, string, string | Buffer, string]>([
    ['x.png', 'image/png', PNG, 'the bytes'],
    ['table.csv', 'text/csv', 'a,b\n', 'the name'],
    ['README', 'application/octet-stream', 'text', 'nothing'],
  ])('with %s and no Content-Type, as Python requests sends it, stores it as %s', async (filename, type, value) => {
    const client = somebody();
    const form = formOf([key, taskType, { name: 'attachment', filename, value }]);
    const answer = await send(client, form);
    expect([answer.status, (await snapshotOf(client, answer)).attachments[0]?.contentType]).toEqual([201, type]);
    const repeat = await send(client, form);
    expect([repeat.status, repeat.body.taskId]).toEqual([200, answer.body.taskId]);
  });

  it('without files is the request that it is as JSON', async () => {
    const client = somebody();
    const json = await client.create({ clientRequestId: 'the-key', taskType: 'demo.attachments', input: { a: 1 } });
    const repeat = await send(client, formOf([key, field('input', '{ "a": 1.0 }'), taskType]));
    expect([repeat.status, repeat.body.taskId]).toEqual([200, json.body.taskId]);
  });

  it('lets an Idempotency-Key header stand in for clientRequestId, unless the two differ', async () => {
    const client = somebody();
    const form = formOf([taskType, first]);
    expect((await send(client, form, { 'Idempotency-Key': 'the-key' })).body.clientRequestId).toBe('the-key');
    const differing = await send(client, formOf([key, taskType, first]), { 'Idempotency-Key': 'another' });
    expectError(differing, 400, 'INVALID_REQUEST');
  });

  it('takes a file of exactly the largest size, and one without a byte', async () => {
    const client = somebody();
    const answer = await send(client, create(file('full.txt', 'a'.repeat(100_000)), file('empty.txt', '')));
    const { attachments } = await snapshotOf(client, answer);
    expect(attachments.map(({ sizeBytes }) => sizeBytes)).toEqual([100_000, 0]);
  });

  it.each<[string, readonly Part[], number, string]>([
    ['a file that is a byte too large', [file('a', 'a'.repeat(100_001))], 413, 'PAYLOAD_TOO_LARGE'],
    [
      'files that are a byte too large together',
      [file('a', 'a'.repeat(99_000)), file('b', 'b'.repeat(99_000)), file('c', 'c'.repeat(2_001))],
      413,
      'PAYLOAD_TOO_LARGE',
    ],
    ['a body that announces too much', [file('a', Buffer.alloc(2_000_000))], 413, 'PAYLOAD_TOO_LARGE'],
    [
      'a file too many',
      [file('a', '1'), file('b', '2'), file('c', '3'), file('d', '4')],
      400,
      'UPLOAD_VALIDATION_ERROR',
    ],
    [
      'an image that is a program',
      [file('a.png', Buffer.from('MZ\0\0\0\0'), 'image/png')],
      400,
      'UPLOAD_VALIDATION_ERROR',
    ],
    ['an image that is a page', [file('a.png', '<!doctype html>', 'image/png')], 400, 'UPLOAD_VALIDATION_ERROR'],
    ['a page that is an image', [file('a.html', PNG, 'text/html')], 400, 'UPLOAD_VALIDATION_ERROR'],
    [
      'a page that is the beginning of one',
      [file('a', PNG.subarray(0, 8), 'text/html')],
      400,
      'UPLOAD_VALIDATION_ERROR',
    ],
    ['a document that is an image', [file('a.pdf', PNG, 'application/pdf')], 400, 'UPLOAD_VALIDATION_ERROR'],
    ['a good file before a bad one', [first, file('a.pdf', PNG, 'application/pdf')], 400, 'UPLOAD_VALIDATION_ERROR'],
    ['a file in another field', [file('a', 'b', 'text/plain', 'avatar')], 422, 'REQUEST_VALIDATION_ERROR'],
    [
      'a file in the place of a field',
      [file('input.json', '{}', 'text/plain', 'input')],
      400,
      'UPLOAD_VALIDATION_ERROR',
    ],
    ['text in the place of a file', [field('attachment', 'no file')], 400, 'UPLOAD_VALIDATION_ERROR'],
    [
      'a part whose header nobody understands',
      [{ value: 'x', disposition: `form-data; name="attachment"; filename*=UTF-8''a:b` }],
      400,
      'UPLOAD_VALIDATION_ERROR',
    ],
    [
      'a part that is no form data',
      [{ value: 'x', disposition: 'attachment; filename="a"' }],
      400,
      'UPLOAD_VALIDATION_ERROR',
    ],
    [
      'a file with the delimiter within a longer line, behind which it would be lost',
      [file('a', 'the beginning\r\n--taskbridge-test-boundaryX and the end')],
      400,
      'UPLOAD_VALIDATION_ERROR',
    ],
    ['a file that nobody chose', [file('', '', 'application/octet-stream')], 400, 'UPLOAD_VALIDATION_ERROR'],
    ['a part without a name', [{ value: 'x' }], 400, 'UPLOAD_VALIDATION_ERROR'],
    ['a file without a field', [{ value: 'x', filename: 'a' }], 400, 'UPLOAD_VALIDATION_ERROR'],
    ['a field twice', [field('taskType', 'demo.echo')], 400, 'UPLOAD_VALIDATION_ERROR'],
    [
      'a field that is not UTF-8',
      [{ name: 'input', value: Buffer.from('7b2261223a22ff227d', 'hex') }],
      400,
      'UPLOAD_VALIDATION_ERROR',
    ],
    ['malformed JSON', [field('input', '{"a":')], 400, 'INVALID_REQUEST'],
    ['JSON with a key twice', [field('metadata', '{"a":1,"a":2}')], 400, 'INVALID_REQUEST'],
    ['JSON with __proto__', [field('input', '{"__proto__":{}}')], 400, 'INVALID_REQUEST'],
    ['JSON with U+0000', [field('input', '{"a":"\\u0000"}')], 400, 'INVALID_REQUEST'],
    ['JSON that is no object', [field('input', '[1]')], 422, 'REQUEST_VALIDATION_ERROR'],
    ['JSON that is null', [field('metadata', 'null')], 422, 'REQUEST_VALIDATION_ERROR'],
    ['an unknown field', [field('colour', '1')], 422, 'REQUEST_VALIDATION_ERROR'],
    ['a field named __proto__', [field('__proto__', '{"taskType":"demo.sleep"}')], 422, 'REQUEST_VALIDATION_ERROR'],
    ['a field that is too large', [field('input', `{"a":"${'a'.repeat(1_048_576)}"}`)], 413, 'PAYLOAD_TOO_LARGE'],
    [
      'fields that are too large together',
      [field('input', `{"a":"${'a'.repeat(600_000)}"}`), field('metadata', `{"a":"${'a'.repeat(600_000)}"}`)],
      413,
      'PAYLOAD_TOO_LARGE',
    ],
  ])('with %s is refused and leaves nothing', async (_what, more, status, code) => {
    expectError(await send(somebody(), create(...more)), status, code);
  });

  it.each<[string, readonly Part[], string]>([
    ['taskType', [field('clientRequestId', 'a'), first], 'taskType'],
    ['clientRequestId', [field('taskType', 'demo.echo'), first], 'clientRequestId'],
    [
      'a taskType that anybody executes',
      [field('clientRequestId', 'a'), field('taskType', 'demo.none'), first],
      'taskType',
    ],
    ['a well-formed taskType', [field('clientRequestId', 'a'), field('taskType', 'a b'), first], 'taskType'],
  ])('without %s is refused with 422 and leaves nothing', async (_what, form, path) => {
    expect(expectFieldErrors(await send(somebody(), formOf(form))).map((error) => error.path)).toContain(path);
  });

  it.each([
    ['fields', 5_000, (n: number) => field(`f${n}`, '')],
    ['equal fields', 5_000, () => field('input', '{}')],
    ['files', 5_000, (n: number) => file(`f${n}`, '')],
    ['parts that are neither', 5_000, () => ({ value: '', disposition: 'attachment' })],
  ])('with thousands of %s is refused', async (_what, count, part) => {
    const form = create(...Array.from({ length: count }, (_, n) => part(n)));
    const { status } = await send(somebody(), form);
    expect([400, 422]).toContain(status);
  });

  it.each<[string, string]>([
    ['filename="../../etc/passwd"', 'passwd'],
    ['filename="C:\\\\temp\\\\report.txt"', 'report.txt'],
    ['filename="caf\u0065\u0301.txt"', 'caf\u00e9.txt'],
    ["filename*=UTF-8''photo_%E2%80%AEgpj.exe", 'photo_gpj.exe'],
    ["filename*=UTF-8''report.pdf%00.exe", 'report.pdf.exe'],
    ["filename*=UTF-8''a%0D%0AX-Evil%3A%201.txt", 'aX-Evil: 1.txt'],
    ['filename=".."', 'unnamed'],
    [`filename="${'n'.repeat(400)}.txt"`, `${'n'.repeat(251)}.txt`],
  ])('with the file name %s stores it as %j', async (parameter, filename) => {
    const client = somebody();
    const part = { value: 'x', type: 'text/plain', disposition: `form-data; name="attachment"; ${parameter}` };
    const answer = await send(client, create(part));
    expect(answer.status).toBe(201);
    expect((await snapshotOf(client, answer)).attachments.map((attachment) => attachment.filename)).toEqual([filename]);
  });

  const boundary = { 'Content-Type': 'multipart/form-data; boundary=b' };
  it.each<[string, Record<string, string>, string]>([
    ['no boundary', { 'Content-Type': 'multipart/form-data' }, '--b\r\n\r\n--b--\r\n'],
    ['another boundary', boundary, '--c\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--c--\r\n'],
    ['no end', boundary, '--b\r\nContent-Disposition: form-data; name="input"\r\n\r\n{}'],
    ['no end of a file', boundary, '--b\r\nContent-Disposition: form-data; name="attachment"; filename="a"\r\n\r\nx'],
    ['no end of a header', boundary, '--b\r\nContent-Disposition: form-data; name="input"'],
    ['a header that is none', boundary, '--b\r\nContent Disposition form-data\r\n\r\nx\r\n--b--\r\n'],
    [
      'a control character in a header',
      boundary,
      '--b\r\nContent-Disposition: form-data; name="a\u0000"\r\n\r\nx\r\n--b--\r\n',
    ],
    ['a header of 20 KB', boundary, `--b\r\nX: ${'x'.repeat(20_000)}\r\n\r\nx\r\n--b--\r\n`],
    ['nothing in it', boundary, '--b--\r\n'],
    ['something else altogether', boundary, '{"taskType":"demo.echo"}'],
  ])('that is malformed, with %s, is refused', async (_what, headers, body) => {
    const answer = await send(somebody(), { headers, body: Buffer.from(body) });
    expect([400, 422]).toContain(answer.status);
    expect(['UPLOAD_VALIDATION_ERROR', 'REQUEST_VALIDATION_ERROR']).toContain(
      (answer.body as unknown as { code: string }).code,
    );
  });

  it('is in the OpenAPI document beside the JSON body', async () => {
    interface Document {
      readonly paths: Record<string, { post: { requestBody: unknown } }>;
      readonly components: { readonly schemas: Record<'CreateTask' | 'CreateTaskForm', { properties: object }> };
    }
    const { body: document } = await somebody().request<Document>('GET', '/openapi.json');
    const files = { type: 'array', items: { type: 'string', contentMediaType: 'application/octet-stream' } };
    expect(document.paths['/api/v1/tasks']?.post.requestBody).toMatchObject({
      content: {
        'application/json': { schema: { $ref: '#/components/schemas/CreateTask' } },
        'multipart/form-data': { schema: { $ref: '#/components/schemas/CreateTaskForm' } },
      },
    });
    const { CreateTask, CreateTaskForm } = document.components.schemas;
    expect(CreateTaskForm.properties).toEqual({ ...CreateTask.properties, attachment: files, attachments: files });
  });

  it('is not taken compressed: a small body would become a large one', async () => {
    const form = create(file('a', Buffer.alloc(90_000)));
    const headers = { ...form.headers, 'Content-Encoding': 'gzip' };
    const answer = await send(somebody(), { headers, body: Buffer.from(gzipSync(form.body)) });
    expectError(answer, 415, 'UNSUPPORTED_MEDIA_TYPE');
    await expectNoOrphans();
  });

  it('is cut where it says that it ends, and refused for its true size when it does not say', async () => {
    const form = create(file('a', 'a'.repeat(100_001)));
    const { port } = new URL(service.url);
    const lying = head('POST /api/v1/tasks', { ...form.headers, 'Content-Length': form.body.length - 100 });
    expect((await exchange(Number(port), lying, form.body)).status).toBe(400);
    const chunked = head('POST /api/v1/tasks', { ...form.headers, 'Transfer-Encoding': 'chunked' });
    expect((await exchange(Number(port), chunked, chunk(form.body), LAST_CHUNK)).status).toBe(413);
    await expectNoOrphans();
  });

  it.each(['http://[::1', 'no-address'])('is refused in the one shape at the address %s', async (address) => {
    const { port } = new URL(service.url);
    const answer = await exchange(Number(port), `POST ${address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      400,
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    ]);
  });

  it('is not taken on any other route', async () => {
    const client = somebody();
    const { body } = await send(client, create());
    for (const path of [`/api/v1/tasks/${body.taskId}/cancel`, '/api/v1/other']) {
      const form = create(first);
      expectError(
        await client.request('POST', path, { headers: form.headers, body: form.body }),
        415,
        'UNSUPPORTED_MEDIA_TYPE',
      );
    }
  });
});

describe('The right to attach', () => {
  afterEach(expectNoOrphans);

  it('is a scope of its own, and creating another one', async () => {
    const form = create(file('a.txt', 'x'));
    const writer = await send(somebody(), form, { 'X-Principal-Scopes': 'tasks:write tasks:read' });
    expectError(writer, 403, 'UPLOAD_FORBIDDEN');
    const reader = await send(somebody(), form, { 'X-Principal-Scopes': 'tasks:upload tasks:read' });
    expectError(reader, 403, 'ACCESS_DENIED');
  });

  it('is refused before the body is asked for', async () => {
    const body = await refusedUnsent({ 'X-Principal-Id': uniqueId(), 'X-Principal-Scopes': 'tasks:write' });
    expect(body).toMatch(/^HTTP\/1\.1 403 [^]*UPLOAD_FORBIDDEN/);
  });

  it('is refused before an endless body is read, and the connection is closed', async () => {
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
    socket.on('error', () => undefined);
    const head = 'POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nX-Principal-Id: p\r\nX-Principal-Scopes: tasks:write\r\n';
    socket.write(`${head}Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const endless = setInterval(() => socket.write(`400\r\n${'-'.repeat(1024)}\r\n`), 1);
    const answer = await textOf(socket);
    clearInterval(endless);
    expect(answer).toMatch(/^HTTP\/1\.1 403 [^]*Connection: close/i);
  });

  it('ends with the quota of an owner, whatever the number of tasks, and is everybody else’s still', async () => {
    const client = somebody();
    const size = 95_000;
    for (let n = 0; n < 5; n += 1) expect((await send(client, create(file('a', Buffer.alloc(size))))).status).toBe(201);
    expectError(await send(client, create(file('a', Buffer.alloc(25_001)))), 403, 'UPLOAD_FORBIDDEN');
    expect((await send(client, create(file('a', Buffer.alloc(25_000))))).status).toBe(201);
    expectError(await send(client, create(file('a', ''))), 403, 'UPLOAD_FORBIDDEN');
    expect((await send(somebody(), create(file('a', 'x')))).status).toBe(201);
    // The same id in another tenant is somebody else.
    expect((await send(client, create(file('a', 'x')), { 'X-Tenant-Id': 'another' })).status).toBe(201);
  });

  it('is not multiplied by asking many times at once', async () => {
    const client = somebody();
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => send(client, create(file('a', Buffer.alloc(90_000))))),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(5).fill(201), ...Array(7).fill(403)]);
  });

  it('leaves the connection fit for the next request after a refusal', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const form = create(file('a', Buffer.alloc(100_001)), file('b', Buffer.alloc(60_000)));
    for (let n = 0; n < 3; n += 1) {
      expect(await statusOf(agent, form)).toBe(413);
      expect(await statusOf(agent, create(file('a', 'x')))).toBe(201);
    }
    agent.destroy();
  });
});

describe('A body that is cut off', () => {
  it('leaves nothing wherever it is cut, and is no fault of the service', async () => {
    const form = create(
      file('a.txt', 'a'.repeat(700)),
      file('b.png', PNG, 'image/png'),
      file('c', randomBytes(70_000)),
    );
    const cuts = Array.from({ length: 1_700 }, (_, n) => n).filter((n) => n % 13 === 0);
    for (const at of [...cuts, 30_000, 65_536, form.body.length - 3, form.body.length - 1]) {
      await cutAt(form, at, at % 2 === 0 ? 'end' : 'reset');
    }
    await eventually('nothing is left', async () => {
      await expectNoOrphans();
      return true;
    });
    expect(service.stdout()).not.toMatch(/"status":5\d\d/);
    expect(service.stdout()).not.toMatch(/"level":"error"/);
  }, 60_000);

  it('leaves a file that nobody names when the service is killed, and the next one removes it', async () => {
    const own = await start();
    const before = new Set(await filesOnDisk());
    const form = create(file('a.txt', 'a'.repeat(50_000)));
    const socket = connect(Number(new URL(own.url).port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(headOf(form, form.body.length));
    socket.write(form.body.subarray(0, 40_000));
    await eventually('half of it is on the disk', async () => (await filesOnDisk()).length > before.size);
    own.kill('SIGKILL');
    await own.exited;
    expect((await filesOnDisk()).filter((name) => !before.has(name))).toEqual([expect.stringMatching(/\.part$/)]);

    // Younger than an hour it may still be an upload that goes on elsewhere.
    const swept = async () => ((await filesOnDisk()).length === before.size ? true : undefined);
    await rows("UPDATE taskbridge.proj_uploads SET touched_at = now() - interval '61 minutes'");
    const next = await start();
    await eventually('it is removed', swept);
    await eventually('and forgotten', async () => {
      await expectNoOrphans();
      return true;
    });
    await next.stop();
  }, 60_000);
});

describe('A create whose connection to PostgreSQL is cut at any of its round trips', () => {
  it('is one task after a repeat, and every file in the store is named by somebody', async () => {
    const proxy = await PostgresProxy.start(database.appUrl);
    const own = await start({ DATABASE_URL: proxy.url });
    const client = newPrincipal(own.url);
    let cuts = 0;
    for (const side of ['before', 'after'] as const) {
      for (let k = 1; ; k += 1) {
        const form = create(file('a.txt', uniqueId()), file('b.txt', uniqueId()));
        let hit = false;
        void proxy[side](k, { matches: storyOfAnUpload() }).then(() => {
          hit = true;
        });
        const first = await send(client, form);
        proxy.resume();
        expect([200, 201, 503]).toContain(first.status);
        const repeat = await send(client, form);
        expect([200, 201]).toContain(repeat.status);
        expect((await snapshotOf(client, repeat)).attachments).toHaveLength(2);
        if (!hit) break;
        cuts += 1;
      }
    }
    // The quota, two notes, BEGIN, the lock, the task, the sum, the files, the settlement and COMMIT, each before and after.
    expect(cuts).toBeGreaterThanOrEqual(20);
    const named = await rows<{ attachment_id: string }>(
      'SELECT attachment_id FROM taskbridge.proj_attachments UNION SELECT attachment_id FROM taskbridge.proj_uploads',
    );
    const names = new Set(named.map((row) => row.attachment_id));
    expect((await filesOnDisk()).filter((name) => !names.has(name))).toEqual([]);

    // What a cut kept from being removed is the sweeper's.
    await rows("UPDATE taskbridge.proj_uploads SET touched_at = now() - interval '61 minutes'");
    await own.stop();
    await proxy.close();
    const next = await start();
    await eventually('nothing is left', async () => {
      await expectNoOrphans();
      return true;
    });
    await next.stop();
  }, 120_000);
});

describe('A file of a task', () => {
  const bytes = randomBytes(5_000);
  let client: Client;
  let path: string;
  let attachment: Attachment;

  beforeAll(async () => {
    client = somebody();
    const answer = await send(client, create(file('Ümläut \\"1\\".bin', bytes, 'application/x-thing')));
    attachment = (await snapshotOf(client, answer)).attachments[0] as Attachment;
    path = `/api/v1/tasks/${answer.body.taskId}/attachments/${attachment.attachmentId}`;
  });

  const get = async (headers: Record<string, string> = {}, method = 'GET') => {
    const response = await fetch(service.url + path, { method, headers: { ...client.headers, ...headers } });
    return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
  };

  it('is given to its owner as it was sent, and to no browser to show', async () => {
    const answer = await get();
    expect([answer.status, answer.bytes.equals(bytes)]).toEqual([200, true]);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'application/x-thing',
      'content-length': '5000',
      'content-disposition': `attachment; filename="_ml_ut _1_.bin"; filename*=UTF-8''%C3%9Cml%C3%A4ut%20%221%22.bin`,
      'x-content-type-options': 'nosniff',
      'content-security-policy': 'sandbox',
      'accept-ranges': 'bytes',
      'cache-control': 'private, no-cache',
      etag: `"${sha256(bytes)}"`,
    });
  });

  it.each([
    ['bytes=0-0', 0, 1],
    ['bytes=100-199', 100, 200],
    ['bytes=4990-', 4_990, 5_000],
    ['bytes=-10', 4_990, 5_000],
    ['bytes=4999-9999', 4_999, 5_000],
  ])('is given in part for Range: %s', async (range, from, to) => {
    const answer = await get({ Range: range });
    expect([answer.status, answer.headers.get('content-range')]).toEqual([206, `bytes ${from}-${to - 1}/5000`]);
    expect(answer.headers.get('content-length')).toBe(String(to - from));
    expect(answer.bytes.equals(bytes.subarray(from, to))).toBe(true);
  });

  it('is given whole for a Range that means nothing, or another version', async () => {
    for (const headers of [
      { Range: 'bytes=9-3' },
      { Range: 'bytes=0-1,5-6' },
      { Range: 'bytes=0-1', 'If-Range': '"old"' },
    ]) {
      expect((await get(headers as Record<string, string>)).status).toBe(200);
    }
    expect((await get({ Range: 'bytes=0-1', 'If-Range': `"${sha256(bytes)}"` })).status).toBe(206);
  });

  it('answers a Range behind its end with 416 and its size', async () => {
    const answer = await get({ Range: 'bytes=5000-' });
    expect([answer.status, answer.headers.get('content-range')]).toEqual([416, 'bytes */5000']);
    expect(JSON.parse(answer.bytes.toString())).toMatchObject({ code: 'INVALID_REQUEST' });
  });

  it('answers HEAD with the headers alone, and a client that has it with 304', async () => {
    const head = await get({}, 'HEAD');
    expect([head.status, head.headers.get('content-length'), head.bytes.length]).toEqual([200, '5000', 0]);
    const fresh = await get({ 'If-None-Match': `"${sha256(bytes)}"` });
    expect([fresh.status, fresh.bytes.length]).toEqual([304, 0]);
  });

  it('does not exist for anybody else, byte for byte as one that is not there', async () => {
    const stranger = somebody();
    const missing = path.replace(/tasks\/[0-9a-f-]{36}/, 'tasks/00000000-0000-7000-8000-000000000000');
    const answers = [await stranger.request('GET', path), await stranger.request('GET', missing)];
    for (const answer of answers) expectError(answer, 404, 'TASK_NOT_FOUND');
    const [foreign, absent] = answers.map(({ text, headers }) => ({
      text: text.replace(/"(timestamp|correlationId)":"[^"]*"/g, ''),
      headers: [...headers].filter(([name]) => !['x-correlation-id', 'date'].includes(name)),
    }));
    expect(foreign).toEqual(absent);
  });

  it('needs the scope to read', async () => {
    expect((await get({ 'X-Principal-Scopes': 'tasks:write' })).status).toBe(403);
  });

  it.each(['00000000-0000-4000-8000-000000000000', 'nonsense', '..%2f..%2fetc%2fpasswd', '%00'])(
    'that is none, %s, is not found',
    async (id) => {
      const answer = await client.request('GET', path.replace(/[^/]*$/, id));
      expectError(answer, 404, 'NOT_FOUND');
    },
  );

  it('of one task is not found in another one', async () => {
    const other = await send(client, create());
    const answer = await client.request('GET', path.replace(/tasks\/[0-9a-f-]{36}/, `tasks/${other.body.taskId}`));
    expectError(answer, 404, 'NOT_FOUND');
  });

  it('is named nowhere in the log', async () => {
    expect(service.stdout()).not.toMatch(/ml.ut|passwd|first\.txt/);
  });
});

describe('A service that keeps attachments in S3', () => {
  it('stores them there, gives them back in part, and leaves none of a create that was refused', async () => {
    const s3 = await startS3Server();
    const own = await start({
      ...S3_CREDENTIALS,
      ATTACHMENT_STORE: 's3',
      S3_BUCKET: s3.bucket,
      S3_ENDPOINT: s3.endpoint,
      S3_REGION: s3.region,
      S3_FORCE_PATH_STYLE: 'true',
      UPLOAD_MAX_FILE_BYTES: '10000000',
      UPLOAD_MAX_TOTAL_BYTES: '20000000',
      UPLOAD_QUOTA_BYTES: '30000000',
    });
    const client = newPrincipal(own.url);
    const bytes = randomBytes(7_000_000);
    const answer = await send(client, create(file('large.bin', bytes, 'application/octet-stream')));
    const [attachment] = (await snapshotOf(client, answer)).attachments;
    expect(attachment?.sha256).toBe(sha256(bytes));
    const path = `/api/v1/tasks/${answer.body.taskId}/attachments/${attachment?.attachmentId}`;
    const headers = { ...client.headers, Range: 'bytes=6000000-6000099' };
    const part = await fetch(own.url + path, { headers });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(6_000_000, 6_000_100))).toBe(true);

    expectError(
      await send(client, create(file('a', bytes), file('b.png', 'x', 'image/png'))),
      400,
      'UPLOAD_VALIDATION_ERROR',
    );
    await own.stop();
    expect(await s3.keys()).toEqual([`attachments/${attachment?.attachmentId}`]);
    await s3.stop();
    await rows('DELETE FROM taskbridge.proj_attachments WHERE attachment_id = $1', [attachment?.attachmentId]);
    await rows('DELETE FROM taskbridge.proj_uploads');
  }, 60_000);
});

describe('A service that keeps no attachments', () => {
  it('refuses multipart bodies with 415', async () => {
    const none = await start({ ATTACHMENT_STORE: 'none' });
    const answer = await send(newPrincipal(none.url), create(file('a.txt', 'x')));
    expectError(answer, 415, 'UNSUPPORTED_MEDIA_TYPE');
    await none.stop();
  });
});

describe('A service that allows some types', () => {
  it('takes those, judged by their bytes, and refuses all others with 415', async () => {
    const choosy = await start({ UPLOAD_ALLOWED_TYPES: 'image/png,text/*' });
    const client = newPrincipal(choosy.url);
    const statuses = await Promise.all(
      [
        file('a.png', PNG, 'image/png'),
        file('a', PNG, 'application/octet-stream'),
        file('a.md', 'x', 'text/markdown'),
      ].map(async (part) => (await send(client, create(part))).status),
    );
    expect(statuses).toEqual([201, 201, 201]);
    const refused = [
      file('a.zip', Buffer.from('504b03041400000008000000', 'hex'), 'application/octet-stream'),
      file('a', '{}', 'application/json'),
    ];
    for (const part of refused) {
      expectError(await send(client, create(part)), 415, 'UNSUPPORTED_MEDIA_TYPE');
    }
    await expectNoOrphans();
    await choosy.stop();
  });
});

describe('A host module', () => {
  it('replaces the policy and the store', async () => {
    const path = join(dataDirectory, 'host.mjs');
    await writeFile(path, HOST_MODULE);
    const hosted = await start({ HOST_MODULE: path, ATTACHMENT_STORE: 'none' });
    const client = newPrincipal(hosted.url);
    expectError(await send(client, create(file('a.txt', 'not this'))), 403, 'UPLOAD_FORBIDDEN');
    const answer = await send(client, create(file('a.txt', 'kept in memory')));
    const [attachment] = (await snapshotOf(client, answer)).attachments;
    const download = await client.request(
      'GET',
      `/api/v1/tasks/${answer.body.taskId}/attachments/${attachment?.attachmentId}`,
    );
    expect(download.text).toBe('kept in memory');
    expect(hosted.stdout()).toContain('removed one');
    await hosted.stop();
    await rows('DELETE FROM taskbridge.proj_attachments WHERE attachment_id = $1', [attachment?.attachmentId]);
    await rows('DELETE FROM taskbridge.proj_uploads');
  });
});

const HOST_MODULE = `
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Module } from '@nestjs/common';
import { AttachmentStore, UploadForbidden, UploadPolicy } from 'taskbridge';

class MemoryStore extends AttachmentStore {
  files = new Map();
  async put(id, bytes) { this.files.set(id, await buffer(bytes)); }
  async open(id, range) {
    const bytes = this.files.get(id);
    return Readable.from([range ? bytes.subarray(range.first, range.last + 1) : bytes]);
  }
  async remove(id) { if (this.files.delete(id)) console.log('removed one'); }
}

class NotEightBytes extends UploadPolicy {
  admit() { return { maxFiles: 1, maxFileBytes: 100, maxTotalBytes: 100 }; }
  check(auth, files) { if (files.some((file) => file.sizeBytes === 8)) throw new UploadForbidden('Not eight bytes.'); }
}

export default class Host {}
Module({ providers: [
  { provide: AttachmentStore, useClass: MemoryStore },
  { provide: UploadPolicy, useClass: NotEightBytes },
] })(Host);
`;

/** The round trips of one multipart create, and nothing of sweeps and claims. */
function storyOfAnUpload(): Matcher {
  const ours = /proj_uploads|proj_attachments|pg_advisory_xact_lock|INSERT INTO taskbridge\.proj_tasks/;
  const transactions = new Set<number>();
  return ({ connection, sql }) => {
    if (/SKIP LOCKED/.test(sql)) return false;
    if (/^\s*commit\b/i.test(sql)) return transactions.delete(connection);
    if (/pg_advisory_xact_lock/.test(sql)) transactions.add(connection);
    return ours.test(sql);
  };
}

function headOf(form: Form, length: number): string {
  const type = form.headers['Content-Type'];
  return `POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nX-Principal-Id: cut\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n`;
}

/** Announces the whole body, sends the first bytes of it, and goes away; returns when the connection is gone. */
async function cutAt(form: Form, at: number, how: 'end' | 'reset'): Promise<void> {
  const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => undefined).resume();
  await new Promise((resolve) =>
    socket.write(Buffer.concat([Buffer.from(headOf(form, form.body.length)), form.body.subarray(0, at)]), resolve),
  );
  if (how === 'end') socket.end();
  else socket.resetAndDestroy();
  await closed;
}

/** Asks with `Expect: 100-continue` for a body that is never sent; answers what came back. */
async function refusedUnsent(headers: Record<string, string>): Promise<string> {
  const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
  const lines = Object.entries({
    Host: 'a',
    ...headers,
    'Content-Type': 'multipart/form-data; boundary=b',
    'Content-Length': '1000',
    Expect: '100-continue',
  }).map(([name, value]) => `${name}: ${value}`);
  socket.write(`POST /api/v1/tasks HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  return textOf(socket);
}

async function textOf(socket: ReturnType<typeof connect>): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await new Promise((resolve) => socket.once('end', resolve).once('close', resolve));
  socket.destroy();
  return text;
}

function statusOf(agent: Agent, { headers, body }: Form): Promise<number | undefined> {
  const { hostname, port } = new URL(service.url);
  return new Promise((resolve, reject) => {
    const sent = { ...headers, 'X-Principal-Id': 'kept-alive', 'Content-Length': body.length };
    const request = httpRequest({ agent, hostname, port, method: 'POST', path: '/api/v1/tasks', headers: sent });
    request.once('error', reject).once('response', (response) => {
      response.resume().once('end', () => resolve(response.statusCode));
    });
    request.end(body);
  });
}
