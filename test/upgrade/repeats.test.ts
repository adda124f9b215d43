import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, type Created, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { field, formOf } from '../support/form.js';
import type { Service } from '../support/service.js';
import { type Lease, WORKER_TOKEN, WorkerClient } from '../support/worker-client.js';
import { BUILD_MS, type Form, requestOf } from './release-0.1.0.js';
import { type Side, Stage } from './stage.js';

const OWNER = { 'X-Principal-Id': 'owner' };
const WORKER = { Authorization: `Bearer ${WORKER_TOKEN}` };

let stage: Stage;
let replicas: Readonly<Record<Side, Service>>;

beforeAll(async () => {
  stage = await Stage.start();
  await stage.migrate('new');
  replicas = { old: await stage.replica('old'), new: await stage.replica('new') };
}, BUILD_MS);

afterAll(async () => {
  await Promise.all(Object.values(replicas ?? {}).map((replica) => replica.stop()));
  await stage?.stop();
});

interface Sent {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Form;
  /** The same in other words. */
  readonly again?: string;
}

async function send(side: Side, path: string, headers: Readonly<Record<string, string>>, body: string | Form) {
  const response = await fetch(replicas[side].url + path, requestOf({ headers, body }));
  return { status: response.status, text: await response.text() };
}

/** All that requests can add to. */
function rows(): Promise<unknown> {
  const count = (table: string) => `(SELECT count(*)::int FROM taskbridge.${table}) AS ${table}`;
  const tables = ['proj_tasks', 'events', 'entries_action_receipts', 'entries_lease_endings', 'proj_attachments'];
  return connected(
    stage.superuserUrl,
    async (db) => (await db.query(`SELECT ${tables.map(count).join(', ')}`)).rows[0],
  );
}

/** Sent to one build, once more to it, and to the other. The two repeats are answered alike, and have no effect. */
async function expectOneAnswer(first: Side, { path, headers = OWNER, body, again }: Sent, firstStatus: number) {
  const answer = await send(first, path, headers, body);
  expect({ ...answer, text: answer.text }).toMatchObject({ status: firstStatus });
  const before = await rows();
  const repeated = await send(first, path, headers, body);
  expect(repeated.status).toBeLessThan(300);
  const other = first === 'old' ? 'new' : 'old';
  for (const text of [body, ...(again === undefined ? [] : [again])])
    expect(await send(other, path, headers, text)).toEqual(repeated);
  expect(await rows()).toEqual(before);
  return answer;
}

const json = (value: unknown) => JSON.stringify(value);

async function leased(side: Side): Promise<Lease> {
  const taskType = uniqueId('type');
  const body = { clientRequestId: uniqueId(), taskType };
  expect((await new Client(replicas[side].url).create(body, OWNER)).status).toBe(201);
  return new WorkerClient(replicas[side].url).lease(taskType);
}

const onTask = ({ taskId, leaseToken }: Lease, call: string, body: object = {}): Sent => ({
  path: `/worker/v1/tasks/${taskId}/${call}`,
  headers: WORKER,
  body: json({ leaseToken, ...body }),
});

/** The ids that a replica answers to a batch: the lease of a repeated one ends later. */
async function idsFrom(side: Side, { path, body }: Sent): Promise<readonly string[]> {
  const answer = await send(side, path, WORKER, body);
  expect(answer.status).toBe(200);
  return (JSON.parse(answer.text) as { eventIds: string[] }).eventIds;
}

/** The one and the other way round. */
describe.each([{ first: 'old' }, { first: 'new' }] as const)(
  'sent to the $first build, and then to the other',
  ({ first }) => {
    it('a create makes one task', async () => {
      const id = uniqueId();
      const body = `{"clientRequestId":"${id}","taskType":"t","input":{"a":1,"b":[10,0.1,1e21,"\\u00fc\\u2028 🐙"],"":null},"metadata":{"n":1}}`;
      const again = `{"metadata":{"n":1.0},"input":{"":null,"b":[1e1,0.10,1000000000000000000000,"ü\u2028 \\ud83d\\udc19"],"a":1},"taskType":"t","clientRequestId":"${id}"}`;
      await expectOneAnswer(first, { path: '/api/v1/tasks', body, again }, 201);
      const other = first === 'old' ? 'new' : 'old';
      const conflict = await send(other, '/api/v1/tasks', OWNER, body.replace('"a":1', '"a":2'));
      expect(conflict).toMatchObject({ status: 409, text: expect.stringContaining('IDEMPOTENCY_CONFLICT') });
    });

    it('a create with the key in a header makes one task', async () => {
      const headers = { ...OWNER, 'Idempotency-Key': uniqueId() };
      await expectOneAnswer(first, { path: '/api/v1/tasks', headers, body: '{"taskType":"t"}' }, 201);
    });

    it('a create with files makes one task', async () => {
      const file = (name: string, text: string) => ({
        name,
        type: 'text/plain',
        base64: Buffer.from(text).toString('base64'),
      });
      const fields = { clientRequestId: uniqueId(), taskType: 't', input: '{"pages":[1,2]}' };
      const body = { fields, files: [file('ü.txt', 'eins'), file('b.txt', 'zwei'.repeat(1_000))] };
      await expectOneAnswer(first, { path: '/api/v1/tasks', body }, 201);
      const other = first === 'old' ? 'new' : 'old';
      const conflict = await send(other, '/api/v1/tasks', OWNER, { fields, files: body.files.toReversed() });
      expect(conflict).toMatchObject({ status: 409, text: expect.stringContaining('IDEMPOTENCY_CONFLICT') });
    });

    it('a create with a file that has no Content-Type makes one task', async () => {
      const parts = [field('clientRequestId', uniqueId()), field('taskType', 't')];
      const { headers, body } = formOf([...parts, { name: 'attachment', filename: 'a.csv', value: 'a,b\n' }]);
      const create = async (side: Side) => {
        const init = { method: 'POST', headers: { ...OWNER, ...headers }, body };
        const answer = await fetch(`${replicas[side].url}/api/v1/tasks`, init);
        return [answer.status, ((await answer.json()) as Created).taskId];
      };
      const other = first === 'old' ? 'new' : 'old';
      const [, taskId] = await create(first);
      expect([await create(first), await create(other)]).toEqual([
        [200, taskId],
        [200, taskId],
      ]);
    });

    it('an action is accepted once', async () => {
      const lease = await leased(first);
      const suspended = await expectOneAnswer(
        first,
        onTask(lease, 'suspend', { kind: 'USER_ACTION_REQUIRED', reasonCode: 'R', allowedActions: ['yes'] }),
        200,
      );
      const { suspendId } = JSON.parse(suspended.text) as { suspendId: string };
      const named = `"suspendId":"${suspendId}","clientActionId":"tap"`;
      const body = `{${named},"actionType":"yes","payload":{"n":10,"t":"ü\\u2028"},"metadata":{"at":"noon"}}`;
      const again = `{"metadata":{"at":"noon"},"payload":{"t":"\\u00fc\u2028","n":1e1},"actionType":"yes",${named}}`;
      await expectOneAnswer(first, { path: `/api/v1/tasks/${lease.taskId}/actions`, body, again }, 202);
    });

    it('a batch is stored once', async () => {
      const lease = await leased(first);
      const events = [
        { type: 'TASK_PROGRESS', payload: { progress: 12.5, stage: 'ü' } },
        { type: 'TASK_OUTPUT', payload: { channel: 'text', op: 'append', data: '🐙 "a" ' } },
        { type: 'TASK_OUTPUT', payload: { channel: 'text', op: 'append', data: 'b' } },
        { type: 'TASK_MESSAGE', payload: { message: 'm\u0007', level: 'debug' } },
      ];
      const sent = onTask(lease, 'events', { batchSeq: 1, events });
      const answer = await idsFrom(first, sent);
      expect(answer).toEqual(['2', '3', '3', '4']);
      const before = await rows();
      const other = first === 'old' ? 'new' : 'old';
      expect(await idsFrom(other, sent)).toEqual(answer);
      expect(await idsFrom(first, sent)).toEqual(answer);
      expect(await rows()).toEqual(before);
      const conflict = onTask(lease, 'events', { batchSeq: 1, events: events.slice(1) });
      expect(await send(other, conflict.path, WORKER, conflict.body)).toMatchObject({ status: 409 });
    });
    it.each([
      ['complete', { result: { n: [10, 1e-7, 'ü\u2028 🐙'], '': null } }],
      ['fail', { code: 'BROKEN', message: 'Kaputt.\u2028', retryable: false }],
      ['fail', { code: 'BUSY', message: 'Later.', retryable: true, retryAfterMs: 60_000 }],
      ['release', {}],
      [
        'suspend',
        { suspendId: 's', kind: 'SYSTEM_PAUSED', reasonCode: 'R', allowedActions: ['a'], interaction: { x: 1 } },
      ],
    ])('an ending has one effect: %s %j', async (call, body) => {
      await expectOneAnswer(first, onTask(await leased(first), call, body), call === 'release' ? 204 : 200);
    });

    it('a cancellation is asked for once and obeyed once', async () => {
      const lease = await leased(first);
      const cancel = { path: `/api/v1/tasks/${lease.taskId}/cancel`, body: json({ reason: 'enough' }) };
      await expectOneAnswer(first, cancel, 202);
      await expectOneAnswer(first, onTask(lease, 'cancelled', { reason: 'obeyed' }), 200);
      await expectOneAnswer(first, cancel, 202);
    });

    it('what one build stored, the other one shows', async () => {
      const client = new Client(replicas[first].url);
      const body = { clientRequestId: uniqueId(), taskType: 't', input: { n: 1 }, metadata: { ü: ['🐙'] } };
      const { taskId } = (await client.create(body, OWNER)).body as Created;
      const seen = async (side: Side) => (await new Client(replicas[side].url).snapshot(taskId, OWNER)).body;
      expect(await seen('new')).toMatchObject({ ...(await seen('old')) });
    });
  },
);

/** Release 0.1.0 compares the bytes of a batch, takes the quotes of a key for a part of it, and tells `{}` from no input. */
describe('The exceptions from "answered once"', () => {
  const batchOf = (lease: Lease) =>
    onTask(lease, 'events', {
      batchSeq: 1,
      events: [{ type: 'TASK_MESSAGE', payload: { message: 'a\u0085b\u2028c\u2029d', level: 'info' } }],
    });
  const quoted = (key: string) => ({ ...OWNER, 'Idempotency-Key': `"${key}"` });
  const create = (side: Side, headers: Readonly<Record<string, string>>) =>
    send(side, '/api/v1/tasks', headers, '{"taskType":"t"}');

  it('a batch with line ends that this build stored is a conflict for 0.1.0, and nothing is stored twice', async () => {
    const sent = batchOf(await leased('new'));
    const answer = await idsFrom('new', sent);
    const before = await rows();
    expect(await send('old', sent.path, WORKER, sent.body)).toMatchObject({
      status: 409,
      text: expect.stringContaining('IDEMPOTENCY_CONFLICT'),
    });
    expect(await idsFrom('new', sent)).toEqual(answer);
    expect(await rows()).toEqual(before);
  });

  it('a batch with line ends that 0.1.0 stored is recognised by this build', async () => {
    const sent = batchOf(await leased('old'));
    const answer = await idsFrom('old', sent);
    const before = await rows();
    expect(await idsFrom('new', sent)).toEqual(answer);
    expect(await rows()).toEqual(before);
  });

  it('an empty input is the same as none for this build, also of tasks that 0.1.0 stored, and another request for 0.1.0', async () => {
    const bodies = [
      [{}, { input: {} }],
      [{ input: {} }, {}],
    ] as const;
    for (const first of ['old', 'new'] as const) {
      for (const [stored, repeated] of bodies) {
        const body = { clientRequestId: uniqueId(), taskType: 't' };
        const text = json({ ...body, ...repeated });
        const { taskId } = JSON.parse(
          (await send(first, '/api/v1/tasks', OWNER, json({ ...body, ...stored }))).text,
        ) as Created;
        expect(await send('new', '/api/v1/tasks', OWNER, text)).toMatchObject({
          status: 200,
          text: expect.stringContaining(taskId),
        });
        expect((await send('old', '/api/v1/tasks', OWNER, text)).status).toBe(409);
        expect((await send('old', '/api/v1/tasks', OWNER, json({ ...body, ...stored }))).status).toBe(200);
      }
    }
  });

  it('a quoted key of 0.1.0 is found by this build', async () => {
    const key = uniqueId();
    const { taskId } = JSON.parse((await create('old', quoted(key))).text) as Created;
    const repeated = await create('new', quoted(key));
    expect(repeated).toMatchObject({ status: 200, text: expect.stringContaining(taskId) });
  });

  it('a quoted key of this build is another key for 0.1.0', async () => {
    const key = uniqueId();
    const { taskId } = JSON.parse((await create('new', quoted(key))).text) as Created;
    const repeated = await create('old', quoted(key));
    expect(repeated.status).toBe(201);
    expect(repeated.text).not.toContain(taskId);
    expect(await create('new', { ...OWNER, 'Idempotency-Key': key })).toMatchObject({
      status: 200,
      text: expect.stringContaining(taskId),
    });
  });
});
