import type { Check } from '../clause.js';
import { demandAnswer, demandRefusal } from '../demands.js';
import { demandFeature } from '../demand-feature.js';
import type { Scene } from '../scene.js';

const erase = (scene: Scene, taskId: string) => scene.a.request('DELETE', `/api/v1/tasks/${taskId}`);

export const gone: Check = async (scene) => {
  await demandFeature(scene, 'erasing');
  const task = await scene.begin();
  await task.complete();
  demandAnswer(await erase(scene, task.taskId), 204);
  demandRefusal(await scene.a.snapshot(task.taskId), 'TASK_NOT_FOUND');
  demandRefusal(await scene.a.page(task.taskId, { waitTimeoutMs: 0 }), 'TASK_NOT_FOUND');
  demandRefusal(await erase(scene, task.taskId), 'TASK_NOT_FOUND', 'a second time');
};

export const onlyWhenOver: Check = async (scene) => {
  await demandFeature(scene, 'erasing');
  const { taskId } = await scene.begin();
  demandRefusal(await erase(scene, taskId), 'TASK_NOT_TERMINAL');
  demandAnswer(await scene.a.snapshot(taskId), 200);
};
