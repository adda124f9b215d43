import type { Check } from '../clause.js';
import { demand, demandAnswer, demandRefusal, demandSame, refusal, shown } from '../demands.js';

const [FORBIDDEN] = refusal('ACCESS_DENIED');
const FOREIGN = { Origin: 'https://conformance.invalid' };

export const foreignOrigin: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const body = { clientRequestId: scene.newId(), taskType: scene.newType() };
  demandRefusal(await scene.create(body, { headers: FOREIGN }), 'ACCESS_DENIED');
  demandRefusal(await scene.a.request('POST', `/api/v1/tasks/${taskId}/cancel`, { headers: FOREIGN }), 'ACCESS_DENIED');
  const stream = scene.sse(taskId, undefined, { headers: FOREIGN });
  await stream.comes(() => stream.status !== 0);
  demandSame('the status of a stream for a foreign page', stream.status, FORBIDDEN);
};

export const foreignWebSocket: Check = async (scene) => {
  const socket = scene.unopenedSocket({ headers: FOREIGN });
  await socket.until(() => socket.isOpen || socket.refused !== undefined, 'the answer to the upgrade');
  demandSame('the status of the upgrade for a foreign page', socket.refused?.status, FORBIDDEN);
};

export const noCorsForForeign: Check = async (scene) => {
  const answer = await scene.a.request('GET', '/api/v1/tasks?limit=1', { headers: FOREIGN });
  const allowed = answer.headers.get('access-control-allow-origin');
  demand(allowed === null, `${shown(answer)} allows ${allowed}`);
};

export const sameOrigin: Check = async (scene) => {
  const { origin } = new URL(scene.a.baseUrl);
  const body = { clientRequestId: scene.newId(), taskType: scene.anyType };
  const answer = await scene.create(body, { headers: { Origin: origin } });
  demandAnswer(answer, 201);
};

export const originIsAllowed: Check = async (scene) => {
  const { origin } = new URL(scene.a.baseUrl);
  const answer = await scene.a.request('GET', '/api/v1/tasks?limit=1', { headers: { Origin: origin } });
  const { headers } = answer;
  demandSame(
    'Access-Control-Allow-Origin and -Credentials',
    [headers.get('access-control-allow-origin'), headers.get('access-control-allow-credentials')],
    [origin, 'true'],
  );
};
