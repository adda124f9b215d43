import { setTimeout as delay } from 'node:timers/promises';
import type { JsonObject } from '../../../protocol/src/json-schema.js';
import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import { type Check } from '../clause.js';
import { demandFeature } from '../demand-feature.js';
import { NotChecked } from '../outcomes.js';
import { accepted } from '../driven-task.js';
import { demand, demandAnswer, demandMembers, demandRefusal, demandSame, shown } from '../demands.js';
import type { Scene } from '../scene.js';

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const AT_ONE_TIME = 12;
const WITHIN_MS = 10_000;
const POLICIES_MS = 2_200;

const newBody = (scene: Scene) => ({
  clientRequestId: scene.newId(),
  taskType: scene.anyType,
  input: { name: 'Ada', steps: 1, stepMs: 1 },
  metadata: { screen: 'checkout' },
});

export const created: Check = async (scene) => {
  const body = newBody(scene);
  const answer = await scene.create(body);
  demandAnswer(answer, 201);
  const { taskId, ...rest } = answer.body;
  demandSame('the answer', rest, { status: 'ACCEPTED', clientRequestId: body.clientRequestId, deduplicated: false });
  const location = answer.headers.get('location');
  demand(location !== null, `${shown(answer)} without Location`);
  const { pathname } = new URL(location, `${scene.a.baseUrl}/api/v1/tasks`);
  demand(pathname.endsWith(`/api/v1/tasks/${taskId}`), `Location is ${location}`);
};

export const taskId: Check = async (scene) => {
  const answer = await scene.create(newBody(scene));
  demand(UUID_V7.test(answer.body.taskId), `taskId is ${answer.body.taskId}`);
};

/** Where the service knows policies. */
export const later: Check = async (scene) => {
  await demandFeature(scene, 'policies');
  const { taskId: id, taskType } = await scene.waiting({ delaySeconds: 2 });
  const { body } = await scene.a.snapshot(id);
  demandSame('a task that may not begin yet waits for', body.waitingFor, 'start_time');
  const { leases } = accepted(await scene.worker.claim([taskType], { waitTimeoutMs: 0 }));
  demandSame('the leases of a task that may not begin yet', leases.length, 0);
  const task = await scene.claimed(id, taskType);
  const begun = (await scene.a.snapshot(task.taskId)).body;
  const waited = Date.parse(begun.startedAt ?? '') - Date.parse(begun.createdAt);
  demand(waited >= 1_990, `it began after ${waited} ms, and not after 2000`);
};

export const deadline: Check = async (scene) => {
  await demandFeature(scene, 'policies');
  const { taskId: id } = await scene.waiting({ deadline: new Date(Date.now() + 1_000).toISOString() });
  const failed = await scene.eventually(
    'a task whose deadline has passed is over',
    async () => {
      const { body } = await scene.a.snapshot(id);
      return body.status !== 'ACCEPTED' && body;
    },
    WITHIN_MS,
  );
  demandSame('the status and the failure', [failed.status, failed.failure?.['code']], ['FAILED', 'EXPIRED']);
};

/** A policy that a worker registers counts on all replicas within two seconds. */
export const schema: Check = async (scene) => {
  await demandFeature(scene, 'policies');
  const taskType = scene.newType();
  const inputSchema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] };
  accepted(await scene.worker.claim([taskType], { policies: { [taskType]: { inputSchema } } }));
  await delay(POLICIES_MS);
  const create = (input: JsonObject) => scene.create({ clientRequestId: scene.newId(), taskType, input });
  const refused = await create({ n: 'one' });
  demandRefusal(refused, 'REQUEST_VALIDATION_ERROR');
  demand(refused.text.includes('"input.n"'), `${shown(refused)} without the path input.n`);
  demandAnswer(await create({ n: 1 }), 201);
};

export const limited: Check = async (scene) => {
  await demandFeature(scene, 'policies');
  const taskType = scene.newType();
  accepted(await scene.worker.claim([taskType], { policies: { [taskType]: { maxRunning: 1 } } }));
  await delay(POLICIES_MS);
  const create = async () => accepted(await scene.create({ clientRequestId: scene.newId(), taskType })).taskId;
  const first = await create();
  const second = await create();
  const running = await scene.claimed(first, taskType);
  demandSame('leases beyond the limit', accepted(await scene.worker.claim([taskType], { maxTasks: 2 })).leases, []);
  demandSame('what the second waits for', (await scene.a.snapshot(second)).body.waitingFor, 'concurrency');
  await running.complete();
  await (await scene.claimed(second, taskType)).complete();
};

export const repeated: Check = async (scene) => {
  const body = newBody(scene);
  const first = await scene.create(body);
  const again = await scene.create(body);
  demandAnswer(again, 200);
  demandSame('the header Idempotent-Replayed', again.headers.get('idempotent-replayed'), 'true');
  demandMembers('the answer', again.body, SCHEMAS.TaskAccepted);
  demandSame('taskId and deduplicated', [again.body.taskId, again.body.deduplicated], [first.body.taskId, true]);
};

export const repeatedStatus: Check = async (scene) => {
  const clientRequestId = scene.newId();
  const { taskId: id, taskType } = await scene.waiting({ clientRequestId });
  await scene.a.cancel(id);
  const again = await scene.create({ clientRequestId, taskType });
  demandAnswer(again, 200);
  demandSame('the status in the answer to a repeated create', again.body.status, 'CANCELLED');
};

/** Other orders of members and other spellings of numbers are the same request. */
export const canonical: Check = async (scene) => {
  const { clientRequestId, taskType } = newBody(scene);
  const spelled = (members: string) =>
    scene.a.request('POST', '/api/v1/tasks', {
      headers: { 'Content-Type': 'application/json' },
      body: `{"clientRequestId":"${clientRequestId}","taskType":"${taskType}",${members}}`,
    });
  const first = await spelled('"input":{"a":1,"b":{"c":10,"d":0.5}},"metadata":{"x":"é"}');
  scene.remember(first);
  demandAnswer(first, 201);
  demandAnswer(await spelled('"metadata":{"x":"\\u00e9"}, "input": {"b":{"d":5e-1,"c":1e1},"a":1.0}'), 200);
};

export const concurrent: Check = async (scene) => {
  const body = newBody(scene);
  const answers = await Promise.all(Array.from({ length: AT_ONE_TIME }, () => scene.create(body)));
  const statuses = answers.map(({ status }) => status).sort();
  demandSame('the statuses of equal creates at one time', statuses, [...Array(AT_ONE_TIME - 1).fill(200), 201]);
  demandSame('the tasks that they made', new Set(answers.map((answer) => answer.body.taskId)).size, 1);
};

export const conflict: Check = async (scene) => {
  const body = newBody(scene);
  await scene.create(body);
  for (const change of [{ input: { name: 'Bob' } }, { input: {} }, { taskType: `${body.taskType}.other` }]) {
    demandRefusal(await scene.create({ ...body, ...change }), 'IDEMPOTENCY_CONFLICT');
  }
};

export const emptyInput: Check = async (scene) => {
  const { input: _, ...body } = newBody(scene);
  const first = await scene.create(body);
  const again = await scene.create({ ...body, input: {} });
  demandAnswer(again, 200);
  demandSame('taskId', again.body.taskId, first.body.taskId);
};

export const otherMetadata: Check = async (scene) => {
  const body = newBody(scene);
  const first = await scene.create(body);
  for (const metadata of [{ screen: 'cart', at: 1 }, {}, undefined]) {
    const again = await scene.create({ ...body, metadata });
    demandAnswer(again, 200);
    demandSame('taskId', again.body.taskId, first.body.taskId);
  }
  const snapshot = await scene.a.snapshot(first.body.taskId);
  demandSame('the metadata of the task', snapshot.body.metadata, body.metadata);
};

export const idempotencyKey: Check = async (scene) => {
  const { clientRequestId: key, ...body } = newBody(scene);
  const headers = { 'Idempotency-Key': key };
  const first = await scene.create(body, { headers });
  demandAnswer(first, 201);
  demandSame('clientRequestId', first.body.clientRequestId, key);
  const both = await scene.create({ ...body, clientRequestId: key }, { headers });
  demandAnswer(both, 200);
  demandSame('taskId', both.body.taskId, first.body.taskId);
  demandRefusal(await scene.create({ ...body, clientRequestId: scene.newId() }, { headers }), 'INVALID_REQUEST');
};

export const membersOfCreate: Check = async (scene) => {
  const body = newBody(scene);
  const wrong: Readonly<Record<string, unknown>>[] = [
    { clientRequestId: 'x'.repeat(256) },
    { clientRequestId: 4711 },
    { taskType: '' },
    { taskType: 'x'.repeat(129) },
    { taskType: 'with space' },
    { taskType: 'back\\slash' },
    { taskType: 'é' },
    { taskType: undefined },
    { input: 'text' },
    { input: [] },
    { metadata: null },
  ];
  for (const change of wrong) {
    const answer = await scene.create({ ...body, ...change });
    demandRefusal(answer, 'REQUEST_VALIDATION_ERROR', JSON.stringify(change).slice(0, 80));
  }
  demandAnswer(await scene.create({ ...body, clientRequestId: scene.newId(), taskType: 'Aa0._:/-' }), 201);
};

export const otherMembers: Check = async (scene) => {
  const answer = await scene.create({ ...newBody(scene), urgency: 1 });
  demandRefusal(answer, 'REQUEST_VALIDATION_ERROR');
};

export const unknownType: Check = async (scene) => {
  const answer = await scene.create({ clientRequestId: scene.newId(), taskType: scene.newType() });
  if (answer.status === 201) throw new NotChecked('the service takes every type, for workers');
  demandRefusal(answer, 'REQUEST_VALIDATION_ERROR');
};

export const namedByOwner: Check = async (scene) => {
  const body = newBody(scene);
  const [mine, theirs] = [await scene.create(body), await scene.create(body, { by: scene.b })];
  demandAnswer(theirs, 201);
  demand(mine.body.taskId !== theirs.body.taskId, `both principals were given the task ${mine.body.taskId}`);
};
