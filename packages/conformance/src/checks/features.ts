import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import type { Check } from '../clause.js';
import { demandAnswer, demandMembers, demandRefusal, demandSame, demandShape } from '../demands.js';

export const service: Check = async (scene) => {
  const answer = await scene.a.service();
  demandAnswer(answer, 200);
  demandMembers('the service', answer.body, SCHEMAS.Service);
  demandShape('the service', answer.body, SCHEMAS.Service);
  demandRefusal(await scene.stranger.service(), 'AUTHENTICATION_ERROR', 'without credentials');
};

export const serviceForWorkers: Check = async (scene) => {
  const answer = await scene.worker.service();
  demandAnswer(answer, 200);
  demandSame('what a worker gets', answer.body, (await scene.a.service()).body);
};
