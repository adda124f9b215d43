import { MAX_CANCEL_REASON_LENGTH } from '../../../protocol/src/limits.js';
import type { Check } from '../clause.js';
import { demandAnswer, demandRefusal, demandSame } from '../demands.js';
import { question } from '../driven-task.js';
import type { Scene } from '../scene.js';

const lastOf = async (scene: Scene, taskId: string) => (await scene.events(taskId)).at(-1);

export const cancelledWaiting: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const answer = await scene.a.cancel(taskId);
  demandAnswer(answer, 202);
  demandSame('the answer', answer.body, { taskId, status: 'CANCELLATION_REQUESTED' });
  const last = await lastOf(scene, taskId);
  demandSame('the event', [last?.type, last?.payload], ['TASK_CANCELLED', { reason: 'cancelled_by_user' }]);
};

export const workerLearnsOfCancel: Check = async (scene) => {
  const task = await scene.begin();
  demandAnswer(await scene.a.cancel(task.taskId, { reason: 'no longer needed' }), 202);
  const beat = await task.worker.call<{ cancellationRequested: boolean; cancelReason?: string }>(
    task.lease,
    'heartbeat',
  );
  demandSame(
    'a heartbeat after it',
    [beat.body.cancellationRequested, beat.body.cancelReason],
    [true, 'no longer needed'],
  );
  demandSame('the status until the worker obeys', (await scene.a.snapshot(task.taskId)).body.status, 'RUNNING');
  await task.cancelled();
  const last = await lastOf(scene, task.taskId);
  demandSame('the end', [last?.type, last?.payload['reason']], ['TASK_CANCELLED', 'no longer needed']);
};

export const alreadyOver: Check = async (scene) => {
  const { taskId } = await scene.ended();
  const answer = await scene.a.cancel(taskId);
  demandAnswer(answer, 202);
  demandSame('the answer', answer.body, { taskId, status: 'ALREADY_TERMINAL' });
};

export const firstReason: Check = async (scene) => {
  const task = await scene.begin();
  for (const reason of ['first', 'second']) await scene.a.cancel(task.taskId, { reason });
  await task.cancelled();
  demandSame('the reason of the end', (await lastOf(scene, task.taskId))?.payload['reason'], 'first');
};

export const mayStillComplete: Check = async (scene) => {
  const task = await scene.begin();
  await scene.a.cancel(task.taskId);
  await task.complete({ in: 'time' });
  demandSame('the end', (await lastOf(scene, task.taskId))?.type, 'TASK_COMPLETED');
};

export const noNewAttempt: Check = async (scene) => {
  const [failing, released] = [await scene.begin(), await scene.begin()];
  for (const { taskId } of [failing, released]) await scene.a.cancel(taskId, { reason: 'enough' });
  await failing.retry();
  await released.release();
  for (const { taskId } of [failing, released]) {
    const last = await lastOf(scene, taskId);
    demandSame('what came instead of a retry', [last?.type, last?.payload['reason']], ['TASK_CANCELLED', 'enough']);
  }
};

export const questionEnds: Check = async (scene) => {
  const task = await scene.begin();
  await task.suspend(question('q'));
  await scene.a.cancel(task.taskId);
  const { status, openSuspension } = (await scene.a.snapshot(task.taskId)).body;
  demandSame('the task, and its question', [status, openSuspension], ['CANCELLED', undefined]);
};

export const reasonOfCancel: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  for (const reason of ['x'.repeat(MAX_CANCEL_REASON_LENGTH + 1), 1, {}]) {
    const answer = await scene.a.cancel(taskId, { reason });
    demandRefusal(answer, 'REQUEST_VALIDATION_ERROR');
  }
  const reason = 'é'.repeat(MAX_CANCEL_REASON_LENGTH);
  demandAnswer(await scene.a.cancel(taskId, { reason }), 202);
  demandSame('the reason', (await lastOf(scene, taskId))?.payload['reason'], reason);
  for (const none of ['', null]) {
    const other = await scene.waiting();
    demandAnswer(await scene.a.cancel(other.taskId, { reason: none }), 202);
    demandSame('the reason', (await lastOf(scene, other.taskId))?.payload['reason'], 'cancelled_by_user');
  }
};
