import type { Check } from '../clause.js';
import { demandRefusal, demandSame } from '../demands.js';
import { accepted, message, output, progress, question } from '../driven-task.js';
import { NotChecked } from '../outcomes.js';
import type { Scene } from '../scene.js';

export async function areStored(scene: Scene): Promise<boolean> {
  return accepted(await scene.worker.service()).features.includes('steps');
}

/** @throws NotChecked where steps are not stored */
async function begun(scene: Scene) {
  if (!(await areStored(scene))) throw new NotChecked('the service does not have the feature `steps`');
  return scene.begin();
}

const endOf = async (scene: Scene, taskId: string, count: number) =>
  (await scene.events(taskId)).slice(-count).map(({ type, payload }) => [type, payload]);

export const finishedOnce: Check = async (scene) => {
  const task = await begun(scene);
  const first = await task.finishStep('load', { rows: [1] });
  demandSame('the first result', first.result, { rows: [1] });
  demandSame('its event', await endOf(scene, task.taskId, 1), [
    ['TASK_STEP', { key: 'load', state: 'completed', attempt: 1 }],
  ]);
  const again = await task.finishStep('load', { rows: [2] });
  demandSame('the answer to another result', [again.result, again.eventId], [{ rows: [1] }, first.eventId]);
  await task.retry();
  await task.resume(true);
  const later = await task.finishStep('load', { rows: [3] });
  demandSame('the answer in the next attempt', [later.result, later.eventId], [{ rows: [1] }, first.eventId]);
  const ends = (await scene.events(task.taskId)).filter(({ type }) => type === 'TASK_STEP');
  demandSame('the number of its events', ends.length, 1);
};

export const boundary: Check = async (scene) => {
  const task = await begun(scene);
  await task.append(output('valid'));
  const { eventId } = await task.finishStep('a', 1);
  await task.append(output('void'));
  await task.retry();
  const supersededBy = async () => (await scene.events(task.taskId)).at(-1)?.payload['supersedesAfterEventId'];
  demandSame('`supersedesAfterEventId` behind a step', await supersededBy(), eventId);
  await task.resume(true);
  await task.append(output('void'));
  await task.release();
  demandSame('the same after an attempt that finished no step', await supersededBy(), eventId);
};

export const retrying: Check = async (scene) => {
  const task = await begun(scene);
  await task.append(output('before'));
  await task.append(output('void'));
  const retry = (supersedesAfterEventId: string) => ({
    type: 'TASK_STEP',
    payload: { key: 'draft', state: 'retrying', supersedesAfterEventId },
  });
  await task.append(retry('2'));
  demandSame('the event', await endOf(scene, task.taskId, 1), [['TASK_STEP', { ...retry('2').payload, attempt: 1 }]]);
  await task.finishStep('draft', 1);
  const tooFar = await task.worker.events(task.lease, 5, [retry('2')]);
  demandRefusal(tooFar, 'REQUEST_VALIDATION_ERROR');
};

export const resumed: Check = async (scene) => {
  const task = await begun(scene);
  await task.append(output('valid'));
  const { eventId } = await task.finishStep('a', 1);
  const answered = async (suspendId: string) => {
    await task.suspend(question(suspendId));
    await scene.a.act(task.taskId, { clientActionId: suspendId, suspendId, actionType: 'yes' });
    const last = (await scene.events(task.taskId)).at(-1);
    await task.resume(true);
    return last && [last.type, last.payload['supersedesAfterEventId'] ?? null];
  };
  await task.append(message('never void'));
  demandSame('the last event where nothing is void', await answered('q1'), ['TASK_ACTION_ACCEPTED', null]);
  await task.append(progress(50));
  demandSame('the last event where progress is void', await answered('q2'), ['TASK_RESUMED', eventId]);
};

export const leasedSteps: Check = async (scene) => {
  const task = await begun(scene);
  for (const [index, key] of ['b', 'a#1', 'a@2'].entries()) await task.finishStep(key, { index });
  await task.release();
  const unaware = await task.worker.claim([task.lease.taskType]);
  demandSame('what a claim without `steps` gets', accepted(unaware).leases, []);
  const { steps } = await task.resume(true);
  demandSame('`steps` of the lease', steps, [
    { key: 'b', result: { index: 0 } },
    { key: 'a#1', result: { index: 1 } },
    { key: 'a@2', result: { index: 2 } },
  ]);
};
