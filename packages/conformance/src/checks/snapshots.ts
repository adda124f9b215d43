import type { JsonSchema } from '../../../protocol/src/json-schema.js';
import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import type { Check } from '../clause.js';
import { demand, demandAnswer, demandMembers, demandSame, shown } from '../demands.js';
import { progress, question } from '../driven-task.js';
import { NotChecked } from '../outcomes.js';

const { required = [], properties = {} } = SCHEMAS.TaskSnapshot as JsonSchema;
/** What only a snapshot of a task that has got so far has. */
const SOMETIMES = Object.keys(properties).filter((name) => !required.includes(name));

export const waitingSnapshot: Check = async (scene) => {
  const clientRequestId = scene.newId();
  const { taskId, taskType } = await scene.waiting({ clientRequestId, input: { a: 1 }, metadata: { b: 'c' } });
  const answer = await scene.a.snapshot(taskId);
  demandAnswer(answer, 200);
  demandMembers('a snapshot', answer.body, SCHEMAS.TaskSnapshot);
  // A service that knows policies says that it waits for a worker.
  const early = SOMETIMES.filter((name) => name !== 'waitingFor' && name in answer.body);
  demand(early.length === 0, `a task that waits has ${early.join(', ')}: ${answer.text}`);
  const { input, metadata, status, attempt, headEventId, attachments, cancellationRequested } = answer.body;
  demandSame(
    'a task that waits',
    [answer.body.taskId, answer.body.clientRequestId, answer.body.taskType, input, metadata, status, attempt],
    [taskId, clientRequestId, taskType, { a: 1 }, { b: 'c' }, 'ACCEPTED', 0],
  );
  demandSame(
    'its headEventId, attachments and cancellationRequested',
    [headEventId, attachments, cancellationRequested],
    ['0', [], false],
  );
};

export const runningSnapshot: Check = async (scene) => {
  const task = await scene.begin();
  await task.append(progress(25), progress(62.5));
  const { body } = await scene.a.snapshot(task.taskId);
  demandSame('status, attempt and progress', [body.status, body.attempt, body.progress], ['RUNNING', 1, 62.5]);
  demand(body.startedAt !== undefined && body.finishedAt === undefined, `a task that runs: ${JSON.stringify(body)}`);
  demandSame('headEventId', body.headEventId, '3');
};

/** Where the service says what a task waits for. */
export const waitingFor: Check = async (scene) => {
  const task = await scene.begin();
  const seen = async () => (await scene.a.snapshot(task.taskId)).body.waitingFor;
  demandSame('a task that runs waits for', await seen(), undefined);
  await task.suspend(question('q'));
  demandSame('a task that has asked waits for', await seen(), 'answer');
  await scene.a.act(task.taskId, { clientActionId: 'a', suspendId: 'q', actionType: 'yes' });
  await task.resume();
  await scene.worker.call(task.lease, 'fail', { code: 'C', message: 'm', retryable: true, retryAfterMs: 60_000 });
  demandSame('a task whose attempt failed waits for', await seen(), 'retry');
};

export const openQuestion: Check = async (scene) => {
  const task = await scene.begin();
  await task.suspend(question('q', { interaction: { ask: 'Publish it?' } }));
  const [, suspended] = await scene.events(task.taskId);
  const open = (await scene.a.snapshot(task.taskId)).body;
  demandSame('openSuspension', open.openSuspension, suspended?.payload);
  await scene.a.act(task.taskId, { clientActionId: 'a', suspendId: 'q', actionType: 'yes' });
  const { openSuspension } = (await scene.a.snapshot(task.taskId)).body;
  demandSame('openSuspension after the answer', openSuspension, undefined);
};

export const endedSnapshot: Check = async (scene) => {
  const completed = await scene.begin();
  const failed = await scene.begin();
  await completed.complete({ pages: 3 });
  await failed.failFinally('BUSY', 'The archive is busy.');
  const [good, bad] = await Promise.all([completed, failed].map(async ({ taskId }) => scene.a.snapshot(taskId)));
  demandSame('result of a task that is COMPLETED', [good?.body.status, good?.body.result], ['COMPLETED', { pages: 3 }]);
  demandSame(
    'failure of a task that is FAILED',
    [bad?.body.status, bad?.body.failure],
    ['FAILED', { code: 'BUSY', message: 'The archive is busy.', retryable: false }],
  );
  for (const { body } of [good, bad].filter((one) => one !== undefined)) {
    demand(body.finishedAt !== undefined, `a task that is over has no finishedAt: ${JSON.stringify(body)}`);
  }
  demand(good?.body.failure === undefined && !('result' in (bad?.body ?? {})), `${good?.text} and ${bad?.text}`);
};

export const completedProgress: Check = async (scene) => {
  const [completed, failed] = [await scene.begin(), await scene.begin()];
  for (const task of [completed, failed]) await task.append(progress(10));
  await completed.complete();
  await failed.failFinally();
  const [good, bad] = await Promise.all([completed, failed].map(async ({ taskId }) => scene.a.snapshot(taskId)));
  demandSame('progress of COMPLETED and FAILED', [good?.body.progress, bad?.body.progress], [100, 10]);
  const { items } = (await scene.a.list({ taskType: completed.lease.taskType })).body;
  demandSame('progress in a list', items.find(({ taskId }) => taskId === completed.taskId)?.progress, 100);
};

export const attemptsLeft: Check = async (scene) => {
  const left = async () => (await scene.a.snapshot(task.taskId)).body.attemptsLeft;
  const task = await scene.begin();
  const first = await left();
  demand(first >= 1, `a task that runs has ${first} attempts left`);
  await task.release();
  demandSame('attemptsLeft after a release', await left(), first);
  await task.resume();
  if (first === 1) throw new NotChecked('the operator allows a single attempt');
  await task.retry();
  demandSame('attemptsLeft after a failure', await left(), first - 1);
  await task.resume();
  await task.complete();
  demandSame('attemptsLeft at the end', await left(), 0);
};

export const attempts: Check = async (scene) => {
  const task = await scene.begin();
  await task.retry();
  demandSame('attempt before the second begins', (await scene.a.snapshot(task.taskId)).body.attempt, 1);
  await task.resume();
  demandSame('attempt when the second has begun', (await scene.a.snapshot(task.taskId)).body.attempt, 2);
};

export const entityTag: Check = async (scene) => {
  const task = await scene.begin();
  const first = await scene.a.snapshot(task.taskId);
  const tag = first.headers.get('etag');
  demand(tag !== null, `${shown(first)} without ETag`);
  demandAnswer(await scene.a.snapshot(task.taskId, { 'If-None-Match': tag }), 304);
  await task.append(progress(1));
  demandAnswer(await scene.a.snapshot(task.taskId, { 'If-None-Match': tag }), 200);
};
