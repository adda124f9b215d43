import { EVENT_SCHEMAS, EVENT_TYPES, isEventType } from '../../../protocol/src/events.js';
import { anyObject, type JsonSchema, text } from '../../../protocol/src/json-schema.js';
import type { Check } from '../clause.js';
import { demand, demandMembers, demandSame, demandShape } from '../demands.js';
import { message, output, progress, question } from '../driven-task.js';
import type { Scene } from '../scene.js';
import { TIMESTAMP, type Envelope } from '../wire.js';
import { areStored } from './steps.js';

/** What the events of all types have in common. Their payloads differ. */
const ANY_EVENT: JsonSchema = {
  ...EVENT_SCHEMAS.TASK_STARTED,
  properties: { ...EVENT_SCHEMAS.TASK_STARTED.properties, type: text(), payload: anyObject() },
};

/** Three tasks that have every type of event between them. */
const everyType = (scene: Scene): Promise<readonly Envelope[]> =>
  scene.once('events of every type', async (shared) => {
    const completed = await shared.begin();
    await completed.append(progress(0), progress(12.5, { stage: 'a', message: 'b' }), progress(100));
    await completed.append(message('a'), message('b', { level: 'warning' }), output('c'), output('d', 'replace'));
    await completed.suspend(question('plain'));
    await answered(shared, completed.taskId, 'plain');
    await completed.resume();
    const more = { schemaVersion: 2, interaction: { a: 1 }, uiHints: { b: 2 }, expiresAt: '2999-01-01T00:00:00.000Z' };
    await completed.suspend(question('full', { kind: 'EXTERNAL_CONFIRMATION_PENDING', ...more }));
    await answered(shared, completed.taskId, 'full');
    await completed.resume();
    if (await areStored(shared)) await completed.finishStep('step', null);
    await completed.complete(null);
    const failed = await shared.begin();
    await failed.retry();
    await failed.resume();
    await failed.failFinally();
    const { taskId } = await shared.waiting();
    await shared.a.cancel(taskId);
    return (await Promise.all([completed.taskId, failed.taskId, taskId].map((id) => shared.events(id)))).flat();
  });

async function answered(scene: Scene, taskId: string, suspendId: string): Promise<void> {
  await scene.a.act(taskId, { clientActionId: scene.newId(), suspendId, actionType: 'yes' });
}

/** Events that only a service with the feature `steps` stores. */
const OF_STEPS: ReadonlySet<string> = new Set(['TASK_STEP', 'TASK_RESUMED']);

export const fiveMembers: Check = async (scene) => {
  for (const event of await everyType(scene)) {
    demandMembers('an event', event, ANY_EVENT);
    demandShape('an event', event, ANY_EVENT);
  }
};

export const createdAt: Check = async (scene) => {
  const events = await everyType(scene);
  for (const { createdAt: at } of events) {
    demand(TIMESTAMP.test(at) && !Number.isNaN(Date.parse(at)), `createdAt is ${JSON.stringify(at)}`);
  }
};

export const payloads: Check = async (scene) => {
  const events = await everyType(scene);
  const wanted = (await areStored(scene)) ? EVENT_TYPES : EVENT_TYPES.filter((type) => !OF_STEPS.has(type));
  const missing = wanted.filter((type) => !events.some((event) => event.type === type));
  demand(missing.length === 0, `tasks that had to have events of every type had no ${missing.join(', ')}`);
  for (const event of events) {
    if (isEventType(event.type)) demandShape(`an event ${event.type}`, event, EVENT_SCHEMAS[event.type]);
  }
};

export const firstEvent: Check = async (scene) => {
  const task = await scene.begin();
  const { taskId } = await scene.waiting();
  await scene.a.cancel(taskId);
  demandSame('the first event of a task that ran', (await scene.events(task.taskId))[0]?.type, 'TASK_STARTED');
  demandSame(
    'the events of a task that never ran',
    (await scene.events(taskId)).map(({ type }) => type),
    ['TASK_CANCELLED'],
  );
};

export const supersedes: Check = async (scene) => {
  const task = await scene.begin();
  await task.append(output('void'));
  await task.retry();
  const retrying = (await scene.events(task.taskId)).at(-1);
  const { notBefore: _, ...payload } = retrying?.payload ?? {};
  demandSame(
    'what came after a retryable failure',
    [retrying?.type, payload],
    ['TASK_RETRYING', { attempt: 2, reason: 'CONFORMANCE', supersedesAfterEventId: '1' }],
  );
};

export const notBefore: Check = async (scene) => {
  const task = await scene.begin();
  const pauseMs = 500;
  await task.worker.call(task.lease, 'fail', { code: 'C', message: 'm', retryable: true, retryAfterMs: pauseMs });
  const retrying = (await scene.events(task.taskId)).at(-1);
  const from = Date.parse(String(retrying?.payload['notBefore']));
  const pause = from - Date.parse(retrying?.createdAt ?? '');
  demand(Math.abs(pause - pauseMs) <= 250, `notBefore is ${pause} ms after the event, demanded: about ${pauseMs}`);
  const early = await task.worker.claim([task.lease.taskType]);
  demandSame('a claim before notBefore', early.body.leases, []);
  await task.resume();
};

export const withoutLineEnds: Check = async (scene) => {
  const text = 'a\u2028b\u2029c\u0085d';
  const task = await scene.begin();
  await task.append(message(text), output(text));
  await task.suspend(question('q', { interaction: { text } }));
  const { text: json, body } = await scene.a.page(task.taskId, { waitTimeoutMs: 0 });
  demand(!/[\u0085\u2028\u2029]/.test(json), `a page of events has line ends of Unicode: ${JSON.stringify(json)}`);
  demandSame('the message', body.events[1]?.payload['message'], text);
};

export const releasedReason: Check = async (scene) => {
  const task = await scene.begin();
  await task.release();
  const retrying = (await scene.events(task.taskId)).at(-1);
  demandSame('what came after a release', [retrying?.type, retrying?.payload['reason']], ['TASK_RETRYING', 'released']);
};

export const suspendedRuns: Check = async (scene) => {
  const task = await scene.begin();
  await task.suspend(question('q'));
  demandSame('the status of a task that asks', (await scene.a.snapshot(task.taskId)).body.status, 'RUNNING');
};
