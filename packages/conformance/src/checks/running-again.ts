import type { JsonObject } from '../../../protocol/src/json-schema.js';
import type { Check } from '../clause.js';
import { demandAnswer, demandRefusal, demandSame } from '../demands.js';
import { demandFeature } from '../demand-feature.js';
import type { Scene } from '../scene.js';
import type { Created } from '../wire.js';

async function retried(scene: Scene, taskId: string, body: JsonObject) {
  const answer = await scene.a.post<Created>(`/api/v1/tasks/${taskId}/retry`, body);
  scene.remember(answer);
  return answer;
}

/** A task of the kit that has failed, perhaps with a finished step. */
async function failed(scene: Scene, step?: string) {
  await demandFeature(scene, 'runAgain');
  const task = await scene.begin({ input: { n: 1 }, metadata: { m: 2 } });
  if (step !== undefined) await task.finishStep(step, { done: true });
  await task.failFinally();
  return task;
}

export const linked: Check = async (scene) => {
  const { taskId } = await failed(scene);
  const clientRequestId = scene.newId();
  const answer = await retried(scene, taskId, { clientRequestId });
  demandAnswer(answer, 201);
  const again = (await scene.a.snapshot(answer.body.taskId)).body;
  demandSame('the new task', [again.clientRequestId, again.rerunOf], [clientRequestId, taskId]);
  demandSame('what it has of the task', [again.input, again.metadata], [{ n: 1 }, { m: 2 }]);
  demandSame('the link of the task', (await scene.a.snapshot(taskId)).body.reruns, [again.taskId]);
};

export const repeated: Check = async (scene) => {
  const { taskId } = await failed(scene);
  const body = { clientRequestId: scene.newId(), input: { n: 2 } };
  const first = await retried(scene, taskId, body);
  const again = await retried(scene, taskId, body);
  demandAnswer(again, 200);
  demandSame('a repeat', [again.body.taskId, again.body.deduplicated], [first.body.taskId, true]);
  demandRefusal(await retried(scene, taskId, { ...body, input: { n: 3 } }), 'IDEMPOTENCY_CONFLICT');
};

export const onlyWhenOver: Check = async (scene) => {
  await demandFeature(scene, 'runAgain');
  const { taskId } = await scene.begin();
  demandRefusal(await retried(scene, taskId, { clientRequestId: scene.newId() }), 'TASK_NOT_TERMINAL');
};

export const stepsAreKept: Check = async (scene) => {
  const { taskId, lease } = await failed(scene, 'load');
  const answer = await retried(scene, taskId, { clientRequestId: scene.newId(), keepSteps: true });
  demandAnswer(answer, 201);
  const log = (await scene.events(answer.body.taskId)).map(({ type, payload }) => [type, payload['key']]);
  demandSame('the log of the new task', log, [
    ['TASK_STARTED', undefined],
    ['TASK_STEP', 'load'],
  ]);
  const { leases } = (await scene.worker.claim([lease.taskType], { waitTimeoutMs: scene.claimMs, steps: true })).body;
  const [given] = leases.map((one) => scene.driven(one));
  demandSame('the steps of its lease', given?.lease.steps, [{ key: 'load', result: { done: true } }]);
  await given?.complete();
};
