import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { Client, expectError, expectFieldErrors, newPrincipal, type Snapshot, uniqueId } from '../support/client.js';
import { checkInvariants, storedEnvelopes } from '../support/fold.js';
import { field, file, formOf } from '../support/form.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { type Lease, output, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

let database: TestDatabase;
let superuser: pg.Client;
let services: readonly Service[];
let client: Client;
/** The same principal on the other replica. */
let beside: Client;
let worker: WorkerClient;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  const env = { DATABASE_URL: database.appUrl, DATA_DIR: await temporaryDirectory(), ...WITH_WORKERS };
  services = await Promise.all([env, env].map((settings) => startService(settings, { lifetime: 'file' })));
  client = newPrincipal(services[0]?.url ?? '');
  beside = new Client(services[1]?.url ?? '', client.principal);
  worker = new WorkerClient(client.url);
});

afterAll(async () => {
  await checkInvariants(database.superuserUrl);
  await Promise.all(services.map((service) => service.stop()));
  await superuser.end();
  await database.drop();
});

type Linked = Snapshot & {
  readonly rerunOf?: string;
  readonly reruns?: readonly string[];
  readonly attachments: readonly { readonly attachmentId: string; readonly filename: string }[];
};

const retry = (taskId: string, body: object, by = client) =>
  by.post<{ taskId: string; status: string; deduplicated: boolean }>(`/api/v1/tasks/${taskId}/retry`, body);
const snapshot = async (taskId: string) => (await client.snapshot(taskId)).body as Linked;

async function created(more: object = {}): Promise<{ taskId: string; taskType: string }> {
  const taskType = uniqueId('again');
  const answer = await client.create({ clientRequestId: uniqueId(), taskType, ...more });
  if (answer.status !== 201) throw new Error(answer.text);
  return { taskId: answer.body.taskId, taskType };
}

/** A task that has failed. */
async function failed(more: object = {}): Promise<{ taskId: string; taskType: string }> {
  const task = await created(more);
  await worker.fail(await worker.lease(task.taskType), { retryable: false });
  return task;
}

const bytesOf = async (taskId: string, attachmentId = '') => {
  const answer = await client.request('GET', `/api/v1/tasks/${taskId}/attachments/${attachmentId}`);
  return [answer.status, answer.text];
};

describe('A task that is run again', () => {
  it('is a new task with the same input and metadata, and both snapshots name the other', async () => {
    const { taskId } = await failed({ input: { n: 12345678901234567890n.toString() }, metadata: { order: 7 } });
    const before = await client.snapshot(taskId);
    const answer = await retry(taskId, { clientRequestId: 'first again' });
    expect(answer).toMatchObject({ status: 201, body: { status: 'ACCEPTED', deduplicated: false } });
    const again = await snapshot(answer.body.taskId);
    expect(again).toMatchObject({ rerunOf: taskId, status: 'ACCEPTED', attempt: 0, headEventId: '0' });
    expect([again.input, again.metadata]).toEqual([before.body.input, before.body.metadata]);
    const source = await client.snapshot(taskId, { 'If-None-Match': before.headers.get('etag') ?? '' });
    expect(source).toMatchObject({ status: 200, body: { status: 'FAILED', reruns: [answer.body.taskId] } });
    const located = new URL(answer.headers.get('location') ?? '', `${client.url}/api/v1/tasks/${taskId}/retry`);
    expect(located.pathname).toBe(`/api/v1/tasks/${answer.body.taskId}`);
    const second = await retry(taskId, { clientRequestId: 'second again', input: { other: true } });
    expect((await snapshot(second.body.taskId)).input).toEqual({ other: true });
    expect((await snapshot(taskId)).reruns).toEqual([second.body.taskId, answer.body.taskId]);
  });

  it('is one task, however often the request is repeated, on any replica', async () => {
    const { taskId } = await failed();
    const body = { clientRequestId: uniqueId(), input: { a: 1 } };
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => retry(taskId, body, i % 2 === 0 ? client : beside)),
    );
    expect(new Set(answers.map((answer) => answer.body.taskId)).size).toBe(1);
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array<number>(19).fill(200), 201]);
    expectError(await retry(taskId, { ...body, input: { a: 2 } }), 409, 'IDEMPOTENCY_CONFLICT');
    expectError(await retry(taskId, { ...body, keepSteps: true }), 409, 'IDEMPOTENCY_CONFLICT');
    expectError(await retry((await failed()).taskId, body), 409, 'IDEMPOTENCY_CONFLICT');
    const { taskType } = await snapshot(taskId);
    expectError(await client.create({ ...body, taskType }), 409, 'IDEMPOTENCY_CONFLICT');
  });

  it('has to be over', async () => {
    const { taskId, taskType } = await created();
    const body = { clientRequestId: uniqueId() };
    expectError(await retry(taskId, body), 409, 'TASK_NOT_TERMINAL');
    const lease = await worker.lease(taskType);
    expectError(await retry(taskId, body), 409, 'TASK_NOT_TERMINAL');
    await worker.complete(lease);
    expect((await retry(taskId, body)).status).toBe(201);
  });

  it('is the owner’s: others get the answer to a task that does not exist', async () => {
    const { taskId } = await failed();
    const stranger = newPrincipal(client.url);
    expectError(await retry(taskId, { clientRequestId: uniqueId() }, stranger), 404, 'TASK_NOT_FOUND');
    for (const body of [
      {},
      { clientRequestId: 1 },
      { clientRequestId: 'a', keepSteps: 'yes' },
      { clientRequestId: 'a', x: 1 },
    ]) {
      expectFieldErrors(await retry(taskId, body));
    }
  });

  it('counts as a task of the owner that is not over', async () => {
    const service = await startService({
      ...{ DATABASE_URL: database.appUrl, DATA_DIR: await temporaryDirectory(), ...WITH_WORKERS },
      OPEN_TASKS_PER_PRINCIPAL: '1',
    });
    const one = newPrincipal(service.url);
    const taskType = uniqueId('again');
    const { taskId } = (await one.create({ clientRequestId: uniqueId(), taskType })).body;
    await worker.complete(await worker.lease(taskType));
    const body = { clientRequestId: uniqueId() };
    const first = await retry(taskId, body, one);
    expect(first.status).toBe(201);
    expectError(await retry(taskId, { clientRequestId: uniqueId() }, one), 429, 'TOO_MANY_REQUESTS');
    expect((await retry(taskId, body, one)).body).toMatchObject({ taskId: first.body.taskId, deduplicated: true });
    await service.stop();
  });
});

describe('The files of a task that is run again', () => {
  it('are the same bytes, which go with the last task that names them', async () => {
    const taskType = uniqueId('again');
    const form = formOf([
      field('clientRequestId', uniqueId()),
      field('taskType', taskType),
      file('a.txt', 'the bytes', 'text/plain'),
    ]);
    const { taskId } = (
      await client.request<{ taskId: string }>('POST', '/api/v1/tasks', { headers: form.headers, body: form.body })
    ).body;
    await worker.complete(await worker.lease(taskType));
    const again = (await retry(taskId, { clientRequestId: uniqueId() })).body.taskId;
    const third = (
      await (await worker.complete(await worker.lease(taskType)), retry(again, { clientRequestId: uniqueId() }))
    ).body.taskId;
    const [first] = (await snapshot(taskId)).attachments;
    const [shared] = (await snapshot(third)).attachments;
    expect(shared).toEqual(first);
    expect(await bytesOf(third, shared?.attachmentId)).toEqual([200, 'the bytes']);
    const lease = await worker.lease(taskType);
    const [{ url }] = lease.attachments as [{ url: string }];
    const download = await fetch(new URL(url, client.url), { headers: { 'X-Lease-Token': lease.leaseToken } });
    expect(await download.text()).toBe('the bytes');

    const orphans = async () =>
      (await superuser.query('SELECT FROM taskbridge.proj_uploads WHERE attachment_id = $1', [first?.attachmentId]))
        .rowCount;
    const removed = (id: string) => superuser.query('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [id]);
    await removed(taskId);
    await removed(again);
    expect(await orphans()).toBe(0);
    expect(await bytesOf(third, shared?.attachmentId)).toEqual([200, 'the bytes']);
    expect(await snapshot(third)).toMatchObject({ rerunOf: again });
    await removed(third);
    expect(await orphans()).toBe(1);
  });
});

describe('Kept steps', () => {
  /** A task with two finished steps, a file of its worker and output, that has failed in the third step. */
  async function stepped(): Promise<{ taskId: string; taskType: string; attachmentId: string }> {
    const task = await created();
    const lease = await worker.lease(task.taskType, 15_000, { steps: true });
    await worker.events(lease, 1, [output('draft')]);
    await worker.finishStep(lease, 2, 'load', { rows: [1, 2] });
    const attached = await fetch(`${client.url}/worker/v1/tasks/${task.taskId}/attachments?filename=big.txt`, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${worker.token}`,
        'X-Lease-Token': lease.leaseToken,
        'Content-Type': 'text/plain',
      },
      body: 'large result',
    });
    const { attachmentId } = (await attached.json()) as { attachmentId: string };
    await worker.finishStep(lease, 3, 'draft', { file: attachmentId });
    await worker.events(lease, 4, [output('half of the rest')]);
    await worker.fail(lease, { retryable: false });
    return { ...task, attachmentId };
  }

  const typesOf = async (taskId: string) =>
    (await storedEnvelopes(database.superuserUrl, taskId)).map((raw) => {
      const { type, payload } = JSON.parse(raw) as { type: string; payload: { key?: string } };
      return payload.key === undefined ? type : `${type} ${payload.key}`;
    });

  it('find their files, as the documents teach it to handlers', async () => {
    const input = { lines: 7, pauseMs: 60_000 };
    const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType: 'demo.file', input })).body;
    await eventually('the step is stored', async () => (await typesOf(taskId)).includes('TASK_STEP lines'));
    await client.cancel(taskId);
    await eventually('it is over', async () => (await snapshot(taskId)).status === 'CANCELLED');
    const rerun = { clientRequestId: uniqueId(), keepSteps: true, input: { ...input, pauseMs: 0 } };
    const again = (await retry(taskId, rerun)).body.taskId;
    await eventually('it is done', async () => (await snapshot(again)).status === 'COMPLETED');
    expect(await snapshot(again)).toMatchObject({ result: { lines: 7 } });
  });

  it('are in the log and in the lease of the new task, and nothing voids them', async () => {
    const { taskId, taskType, attachmentId } = await stepped();
    const answer = await retry(taskId, { clientRequestId: uniqueId(), keepSteps: true });
    expect(answer).toMatchObject({ status: 201, body: { status: 'RUNNING' } });
    const again = answer.body.taskId;
    expect(await typesOf(again)).toEqual(['TASK_STARTED', 'TASK_STEP load', 'TASK_STEP draft']);
    expect(await snapshot(again)).toMatchObject({ status: 'RUNNING', attempt: 0, headEventId: '3', rerunOf: taskId });
    expect((await worker.claim({ taskTypes: [taskType] })).body.leases).toEqual([]);
    let lease: Lease = await worker.lease(taskType, 15_000, { steps: true });
    expect(lease).toMatchObject({ taskId: again, attempt: 1, headEventId: '3' });
    expect(lease.steps).toEqual([
      { key: 'load', result: { rows: [1, 2] } },
      { key: 'draft', result: { file: attachmentId } },
    ]);
    // The stored result names the file as the first task had it, and so do the lease and the snapshot.
    expect(lease.attachments).toEqual([expect.objectContaining({ attachmentId, source: 'worker' })]);
    expect((await snapshot(again)).attachments).toEqual([
      expect.objectContaining({ attachmentId, filename: 'big.txt' }),
    ]);
    expect(await bytesOf(again, attachmentId)).toEqual([200, 'large result']);
    expect((await worker.finishStep(lease, 1, 'load', 'other')).body).toMatchObject({ result: { rows: [1, 2] } });
    await worker.events(lease, 2, [output('lost')]);
    await worker.fail(lease, { retryable: true, retryAfterMs: 0 });
    const [last] = (await storedEnvelopes(database.superuserUrl, again)).slice(-1);
    expect(JSON.parse(last ?? '')).toMatchObject({ type: 'TASK_RETRYING', payload: { supersedesAfterEventId: '3' } });
    const shown = await client.request<{ output: object }>('GET', `/api/v1/tasks/${again}?include=output`);
    expect(shown.body).toMatchObject({ settledEventId: '3', output: {} });
    lease = await worker.lease(taskType, 15_000, { steps: true });
    expect(lease).toMatchObject({ attempt: 2, headEventId: '5' });
    await worker.complete(lease);
  });

  it('are done anew without keepSteps, and the files of the worker stay behind', async () => {
    const { taskId, taskType } = await stepped();
    const again = (await retry(taskId, { clientRequestId: uniqueId() })).body.taskId;
    expect(await typesOf(again)).toEqual([]);
    const lease = await worker.lease(taskType, 15_000, { steps: true });
    expect(lease).toMatchObject({ taskId: again, steps: [], attachments: [] });
    await worker.complete(lease);
  });

  it('of a task that is cancelled before its first attempt leave a legal log', async () => {
    const { taskId } = await stepped();
    const again = (await retry(taskId, { clientRequestId: uniqueId(), keepSteps: true })).body.taskId;
    await client.cancel(again);
    expect((await typesOf(again)).at(-1)).toBe('TASK_CANCELLED');
    expect(await snapshot(again)).toMatchObject({ status: 'CANCELLED', headEventId: '4' });
  });
});
