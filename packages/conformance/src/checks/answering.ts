import type { Check } from '../clause.js';
import { demand, demandAnswer, demandRefusal, demandSame, shown } from '../demands.js';
import { demandFeature } from '../demand-feature.js';
import { question, type DrivenTask } from '../driven-task.js';
import type { Scene } from '../scene.js';

const AT_ONE_TIME = 8;

async function asking(scene: Scene, more: Readonly<Record<string, unknown>> = {}): Promise<DrivenTask> {
  const task = await scene.begin();
  await task.suspend(question('q', more));
  return task;
}

const yes = (clientActionId: string) => ({ clientActionId, suspendId: 'q', actionType: 'yes' });

export const actionAccepted: Check = async (scene) => {
  const task = await asking(scene);
  const { taskId } = task;
  const answer = await scene.a.act(taskId, { ...yes('a'), payload: { comment: 'fine' } });
  demandAnswer(answer, 202);
  demandSame('the answer', answer.body, { taskId, suspendId: 'q', clientActionId: 'a', status: 'ACCEPTED' });
  const last = (await scene.events(taskId)).at(-1);
  const { acceptedAt: _, ...payload } = last?.payload ?? {};
  demandSame(
    'its event',
    [last?.type, payload],
    ['TASK_ACTION_ACCEPTED', { suspendId: 'q', clientActionId: 'a', actionType: 'yes' }],
  );
};

export const actionRepeated: Check = async (scene) => {
  const task = await asking(scene);
  const action = { ...yes('a'), payload: { x: 1, y: 2 } };
  await scene.a.act(task.taskId, action);
  const demandRepeat = async (when: string) => {
    const answer = await scene.a.act(task.taskId, { ...action, payload: { y: 2, x: 1 }, metadata: { when } });
    const { status, body } = answer;
    demandSame(`the same action ${when}`, [status, body.status], [200, 'DEDUPLICATED']);
  };
  await demandRepeat('again');
  await task.resume();
  await task.complete();
  await demandRepeat('after the end');
};

export const actionConflict: Check = async (scene) => {
  const task = await asking(scene);
  await scene.a.act(task.taskId, yes('a'));
  for (const change of [{ actionType: 'no' }, { payload: { other: true } }]) {
    demandRefusal(await scene.a.act(task.taskId, { ...yes('a'), ...change }), 'IDEMPOTENCY_CONFLICT');
  }
};

export const neverAsked: Check = async (scene) => {
  const task = await asking(scene);
  demandRefusal(await scene.a.act(task.taskId, { ...yes('a'), suspendId: 'never' }), 'NOT_FOUND');
};

export const actionTooLate: Check = async (scene) => {
  const task = await asking(scene);
  await scene.a.cancel(task.taskId);
  demandRefusal(await scene.a.act(task.taskId, yes('a')), 'TASK_ALREADY_TERMINAL');
};

/** The service judges by its clock, which the last event shows. */
export const questionExpires: Check = async (scene) => {
  const task = await scene.begin();
  const begun = performance.now();
  await task.append({ type: 'TASK_PROGRESS', payload: { progress: 1 } });
  const now = Date.parse((await scene.events(task.taskId)).at(-1)?.createdAt ?? '');
  await task.suspend(question('q', { expiresAt: new Date(now + 1_000).toISOString() }));
  const { openSuspension } = (await scene.a.snapshot(task.taskId)).body;
  if (performance.now() - begun < 900) demand(openSuspension !== undefined, 'the question was closed before its time');
  await scene.quiet(1_200);
  const demandExpired = async (clientActionId: string) => {
    const answer = await scene.a.act(task.taskId, yes(clientActionId));
    const isExpired = answer.status === 200 && answer.body.status === 'REJECTED_EXPIRED';
    demand(isExpired, `${shown(answer)}, demanded: 200 REJECTED_EXPIRED`);
  };
  await demandExpired('late');
  const failed = await scene.eventually(
    'the task is over because nobody answered',
    async () => (await scene.a.snapshot(task.taskId)).body.failure,
    Math.max(scene.patienceMs, 10_000),
  );
  demandSame('the failure', failed['code'], 'SUSPENSION_EXPIRED');
  await demandExpired('after-the-end');
};

export const somebodyWasFaster: Check = async (scene) => {
  const task = await asking(scene);
  await scene.a.act(task.taskId, yes('first'));
  const { status, body } = await scene.a.act(task.taskId, yes('second'));
  demandSame('a second answer', [status, body.status], [200, 'REJECTED_ALREADY_RESOLVED']);
};

export const oneIsAccepted: Check = async (scene) => {
  const task = await asking(scene);
  const answers = await Promise.all(
    Array.from({ length: AT_ONE_TIME }, (_, n) => scene.a.act(task.taskId, yes(`a-${n}`))),
  );
  const accepted = answers.filter(({ status }) => status === 202).length;
  demandSame('how many of several answers at one time were accepted', accepted, 1);
  const events = await scene.events(task.taskId);
  demandSame('how many events say so', events.filter(({ type }) => type === 'TASK_ACTION_ACCEPTED').length, 1);
};

export const notAllowed: Check = async (scene) => {
  const task = await asking(scene);
  const answer = await scene.a.act(task.taskId, { ...yes('a'), actionType: 'perhaps' });
  demandRefusal(answer, 'ACTION_NOT_ALLOWED');
  const { details } = answer.body as unknown as { details: unknown };
  demandSame('details', details, { allowedActions: ['yes', 'no'] });
};

export const fitsTheSchema: Check = async (scene) => {
  await demandFeature(scene, 'actionSchemas');
  const schema = { type: 'object', required: ['n'], properties: { n: { type: 'integer', maximum: 9 } } };
  const { taskId } = await asking(scene, { actionSchemas: { yes: schema } });
  for (const payload of [undefined, { n: 10 }, { n: 'one' }])
    demandRefusal(await scene.a.act(taskId, { ...yes('a'), ...(payload && { payload }) }), 'REQUEST_VALIDATION_ERROR');
  demandAnswer(await scene.a.act(taskId, { ...yes('a'), payload: { n: 9 } }), 202);
};

export const whoAnswered: Check = async (scene) => {
  const { taskId } = await asking(scene);
  demandAnswer(await scene.a.act(taskId, yes('a')), 202);
  const { questions = [] } = (await scene.a.snapshot(taskId)).body;
  const shownOf = questions.map(({ suspendId, state, clientActionId }) => ({ suspendId, state, clientActionId }));
  demandSame('the questions', shownOf, [{ suspendId: 'q', state: 'answered', clientActionId: 'a' }]);
  const [{ answeredBy } = {}] = questions;
  demand(typeof answeredBy === 'string' && answeredBy !== '', `answeredBy is ${String(answeredBy)}`);
};
