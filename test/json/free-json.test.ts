import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Allow, IsArray, IsObject, IsString, ValidateNested } from 'class-validator';
import fc from 'fast-check';
import { storedJson } from '#protocol/exact-json.js';
import { Elements } from '../../src/http/body-shape.js';
import { canonicalJson } from '../../src/json/canonical-json.js';
import { checkedBody } from '../../src/json/json-body.js';
import type { JsonText } from '../../src/json/json-text.js';
import { Optional } from '../../src/http/optional.decorator.js';
import type { JsonObject, JsonValue } from '../../src/json/strict-json.js';
import { EdgeValidationPipe } from '../../src/http/validation.pipe.js';
import { CreateTaskDto } from '../../src/tasks/http/dto/create-task.dto.js';
import { SuspendDto } from '../../src/execution/worker-api/worker.dto.js';
import { newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { jsonValue } from '../support/json-value.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { question, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

/** The text that release 0.1.0 fingerprints. Builds compare each other's receipts. */
function canonicalIn010(value: JsonValue): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalIn010).join(',')}]`;
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalIn010(value[key] as JsonValue)}`);
  return `{${members.join(',')}}`;
}

const fingerprintIn010 = (value: JsonValue) => createHash('sha256').update(canonicalIn010(value)).digest('hex');

const read = (text: string, metatype: new () => object) =>
  readFrom(checkedBody(Buffer.from(text)), metatype) as Promise<Record<string, unknown>>;
const readFrom = async (body: ReturnType<typeof checkedBody>, metatype: new () => object) =>
  new EdgeValidationPipe().transform(await body, { type: 'body', metatype });

/** White space and escapes, which are not stored. */
const spelled = (value: JsonValue) =>
  JSON.stringify(value, null, 3).replace(
    /[^ -~\n]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

const jsonObject = fc.dictionary(fc.string({ unit: 'grapheme' }), jsonValue(), { maxKeys: 5, noNullPrototype: true });
const object = jsonObject.filter(
  (value) =>
    JSON.stringify(value).isWellFormed() && !Object.keys(value).some((key) => /^(__proto__|constructor)$|\0/.test(key)),
) as fc.Arbitrary<JsonObject>;

describe('Free-form JSON', () => {
  it('is stored and compared as the tree would be', async () => {
    await fc.assert(
      fc.asyncProperty(object, object, async (input, metadata) => {
        const text = spelled({ metadata, taskType: 'a', input });
        const body = await read(text, CreateTaskDto);
        expect((body['input'] as JsonText).json).toBe(storedJson(JSON.parse(spelled(input))));
        expect((body['metadata'] as JsonText).json).toBe(storedJson(JSON.parse(spelled(metadata))));
        const tree = { taskType: 'a', input, metadata, attachments: [] };
        const texts = { ...tree, input: body['input'] as JsonText, metadata: body['metadata'] as JsonText };
        expect(canonicalJson(texts)).toBe(canonicalIn010(tree));
      }),
      { numRuns: 500 },
    );
  });

  it('keeps the order in which the members of a question came, defaults first', async () => {
    const text =
      '{"uiHints":{"2":1,"1":2},"leaseToken":"t","allowedActions":["a"],"reasonCode":"r","kind":"SYSTEM_PAUSED"}';
    const names = Object.keys(await read(text, SuspendDto));
    expect(names).toEqual(['schemaVersion', 'uiHints', 'leaseToken', 'allowedActions', 'reasonCode', 'kind']);
  });
});

class InnerDto {
  @IsString()
  name!: string;

  @Optional()
  @Allow()
  more?: unknown;
}

class OuterDto {
  @Optional()
  @IsObject()
  object?: object;

  @Optional()
  @IsArray()
  list?: unknown[];

  @Optional()
  @ValidateNested({ each: true })
  @Elements(() => InnerDto)
  inner?: InnerDto[];
}

describe('A body whose DTO does not say that it nests', () => {
  const many = (length: number) => Array.from({ length }, (_, n) => n);

  it.each([
    ['flat', { object: { a: 1, b: null, c: [], d: {} }, list: ['a', {}, []] }],
    ['of the largest size', { object: Object.fromEntries(many(16).map((n) => [n, n])), list: many(1_024) }],
    ['of another DTO', { inner: [{ name: 'a', more: [1] }, { name: 'b' }] }],
  ])('comes whole where it is %s', async (_, body) => {
    expect(JSON.parse(JSON.stringify(await read(JSON.stringify(body), OuterDto)))).toEqual(body);
  });

  it.each([
    ['nests', { object: { a: { b: 1 } } }, ['object']],
    ['nests in a list', { list: [1, [2]] }, ['list']],
    ['has too many members', { object: Object.fromEntries(many(17).map((n) => [n, n])) }, ['object']],
    ['has too many elements', { list: many(1_025) }, ['list']],
    ['nests within another DTO', { inner: [{ name: 'a' }, { name: 'b', more: { c: [1] } }] }, ['inner[1].more']],
    ['has lists in the place of another DTO', { inner: [[{ name: 'a' }]] }, ['inner[0]']],
  ])('is refused where it %s, and never emptied in silence', async (_, body, paths) => {
    const errors = paths.map((path) => ({ path, message: 'is larger than this route takes, or nests deeper' }));
    await expect(read(JSON.stringify(body), OuterDto)).rejects.toMatchObject({
      code: 'REQUEST_VALIDATION_ERROR',
      details: { errors },
    });
  });
});

describe('What a service stores of free-form JSON', () => {
  let database: TestDatabase;
  let service: Service;

  beforeAll(async () => {
    const [created, dataDirectory] = await Promise.all([createTestDatabase(), temporaryDirectory()]);
    database = created;
    const settings = { DATABASE_URL: database.appUrl, DATA_DIR: dataDirectory, MAX_EVENT_PAYLOAD_BYTES: '1000000' };
    service = await startService({ ...settings, ...WITH_WORKERS }, { lifetime: 'file' });
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const row = async (sql: string, taskId: string): Promise<Record<string, string>> =>
    connected(
      database.superuserUrl,
      async (db) => (await db.query<Record<string, string>>(sql, [taskId])).rows[0] ?? {},
    );

  /** Members that JSON.parse moves, white space, escapes, numbers spelled in other ways; with filling, too much for one turn. */
  const textOf = (filling: number) =>
    `{ "b" : [1.0, 1e2, -0, "\\u00e9\\/\\ud83d\\ude00"], "10":{}, "9": [] , "\\u0061":null, "é":"ü\\n", "fill":"${'x'.repeat(filling)}" }`;

  it.each([
    ['small', 0],
    ['large', 300_000],
  ])('is what 0.1.0 stores, and has its fingerprints (%s)', async (_, filling) => {
    const text = textOf(filling);
    const tree = JSON.parse(text) as JsonObject;
    const stored = JSON.stringify(tree);
    const client = newPrincipal(service.url);
    const worker = new WorkerClient(service.url);
    const taskType = uniqueId('test');
    const headers = { 'Content-Type': 'application/json' };
    const post = (path: string, body: string, more = {}) =>
      client.request<{ taskId: string }>('POST', path, { headers: { ...headers, ...more }, body });

    const create = `{"metadata":${text},"clientRequestId":"r","input":${text},"taskType":"${taskType}"}`;
    const created = await post('/api/v1/tasks', create);
    expect(created.status).toBe(201);
    const { taskId } = created.body;
    const columns = 'fingerprint, input::text AS input, metadata::text AS metadata';
    expect(await row(`SELECT ${columns} FROM taskbridge.proj_tasks WHERE task_id = $1`, taskId)).toEqual({
      fingerprint: fingerprintIn010({ taskType, input: tree, metadata: tree, attachments: [] }),
      input: stored,
      metadata: stored,
    });
    expect((await client.snapshot(taskId)).text).toContain(`"input":${stored}`);
    expect((await client.list()).text).toContain(`"metadata":${stored}`);

    const first = await worker.lease(taskType);
    expect(JSON.stringify(first.input)).toBe(stored);
    const asked = question({ suspendId: 'q', interaction: JSON.parse(text), schemaVersion: 2 });
    const suspended = await post(
      `/worker/v1/tasks/${taskId}/suspend`,
      JSON.stringify({ leaseToken: first.leaseToken, ...asked }).replace(stored, text),
      { Authorization: `Bearer ${worker.token}` },
    );
    expect(suspended.status).toBe(200);
    const ofLease =
      'SELECT fingerprint FROM taskbridge.entries_lease_endings WHERE task_id = $1 ORDER BY created_at DESC';
    const suspend = { kind: 'suspend', token: first.leaseToken, question: asked as JsonObject };
    expect((await row(ofLease, taskId))['fingerprint']).toBe(fingerprintIn010(suspend));
    expect((await client.snapshot(taskId)).text).toContain(`"interaction":${stored}`);

    const action = { clientActionId: 'a', suspendId: 'q', actionType: 'approve', payload: tree, metadata: tree };
    const acted = await post(`/api/v1/tasks/${taskId}/actions`, JSON.stringify(action).replaceAll(stored, text));
    expect(acted.status).toBe(202);
    const { clientActionId, ...compared } = action;
    const ofAction = 'SELECT fingerprint FROM taskbridge.entries_action_receipts WHERE task_id = $1';
    expect((await row(ofAction, taskId))['fingerprint']).toBe(fingerprintIn010(compared));

    const second = await worker.lease(taskType);
    expect(JSON.stringify(second.resume)).toBe(
      JSON.stringify({
        suspendId: 'q',
        clientActionId,
        actionType: 'approve',
        payload: tree,
        actorId: client.principal,
      }),
    );
    const complete = `{"result":${text},"leaseToken":"${second.leaseToken}"}`;
    const completed = await post(`/worker/v1/tasks/${taskId}/complete`, complete, {
      Authorization: `Bearer ${worker.token}`,
    });
    expect(completed.status).toBe(200);
    const end = { kind: 'complete', token: second.leaseToken, result: tree };
    expect((await row(ofLease, taskId))['fingerprint']).toBe(fingerprintIn010(end));
    const last = "SELECT payload::text FROM taskbridge.events WHERE task_id = $1 AND type = 'TASK_COMPLETED'";
    expect(await row(last, taskId)).toEqual({ payload: `{"result":${stored}}` });
    expect((await client.snapshot(taskId)).text).toContain(`"result":${stored}`);
  });

  it('reaches a handler in this process as the tree that was sent, however large', async () => {
    const client = newPrincipal(service.url);
    const input = { fill: Array.from({ length: 40_000 }, (_, i) => ({ [`k${i % 100}`]: [i] })), 7: { a: 'é' } };
    const { body } = await client.create({ clientRequestId: uniqueId('echo'), taskType: 'demo.echo', input });
    const snapshot = await eventually('it is completed', async () => {
      const found = (await client.snapshot(body.taskId)).body;
      return found.status === 'COMPLETED' && found;
    });
    expect(JSON.stringify(snapshot.result)).toBe(JSON.stringify(input));
  });
});
