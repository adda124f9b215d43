import type { Bulk } from '../../../protocol/src/bulk.js';
import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import type { Check } from '../clause.js';
import { demandAnswer, demandMembers, demandRefusal, demandSame } from '../demands.js';
import { demandFeature } from '../demand-feature.js';

/** The service does parts of a bulk at its own pace. */
const WITHIN_MS = 20_000;

export const runsWhatItShowed: Check = async (scene) => {
  await demandFeature(scene, 'bulk');
  const { taskId, taskType } = await scene.waiting();
  const start = (body: Parameters<typeof scene.a.post>[1]) => scene.a.post<Bulk>('/api/v1/tasks/bulk/cancel', body);
  const shown = await start({ filter: { taskType }, dryRun: true });
  demandAnswer(shown, 200);
  demandMembers('a preview', shown.body, SCHEMAS.Bulk);
  demandSame('what it shows', [shown.body.matched, shown.body.taskIds], [1, [taskId]]);
  const later = await scene.create({ clientRequestId: scene.newId(), taskType });
  demandSame('the status after a preview', (await scene.a.snapshot(taskId)).body.status, 'ACCEPTED');
  const { bulkId } = shown.body;
  demandAnswer(await start({ bulkId }), 202);
  const over = await scene.eventually(
    'the bulk is finished',
    async () => {
      const { body } = await scene.a.request<Bulk>('GET', `/api/v1/bulks/${bulkId}`);
      return body.finishedAt !== undefined && body;
    },
    WITHIN_MS,
  );
  demandSame('its outcomes', over.outcomes, { CANCELLATION_REQUESTED: 1 });
  const statuses = await Promise.all(
    [taskId, later.body.taskId].map(async (id) => (await scene.a.snapshot(id)).body.status),
  );
  demandSame('the task that was shown, and a later one', statuses, ['CANCELLED', 'ACCEPTED']);
};

export const repeatedIsTheSame: Check = async (scene) => {
  await demandFeature(scene, 'bulk');
  const { taskId, taskType } = await scene.waiting();
  const body = { clientRequestId: scene.newId(), filter: { taskType } };
  const start = (more: object = {}) => scene.a.post<Bulk>('/api/v1/tasks/bulk/cancel', { ...body, ...more });
  const [first, second] = await Promise.all([start(), start()]);
  for (const answer of [first, second]) demandAnswer(answer, 202);
  demandSame('the bulk of the repeat', second.body.bulkId, first.body.bulkId);
  await scene.eventually(
    'the bulk is finished',
    async () =>
      (await scene.a.request<Bulk>('GET', `/api/v1/bulks/${first.body.bulkId}`)).body.finishedAt !== undefined,
    WITHIN_MS,
  );
  demandSame('the task', (await scene.a.snapshot(taskId)).body.status, 'CANCELLED');
  demandRefusal(await start({ filter: {}, max: 1 }), 'IDEMPOTENCY_CONFLICT');
  const { filter } = body;
  demandRefusal(await scene.a.post('/api/v1/tasks/bulk/cancel', { filter }), 'REQUEST_VALIDATION_ERROR');
};

export const oneOfThree: Check = async (scene) => {
  await demandFeature(scene, 'bulk');
  for (const body of [{}, { ids: [], filter: {} }])
    demandRefusal(await scene.a.post('/api/v1/tasks/bulk/cancel', body), 'REQUEST_VALIDATION_ERROR');
};
