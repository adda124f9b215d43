import { CLOSE_CODES } from '../../../protocol/src/close-codes.js';
import {
  FOLLOW_TOKEN_PREFIX,
  MAX_FOLLOW_TOKEN_LENGTH,
  TOKEN_SUBPROTOCOL_PREFIX,
} from '../../../protocol/src/follow-tokens.js';
import { MULTIPLEX, PLAIN } from '../../../protocol/src/frames.js';
import type { JsonObject } from '../../../protocol/src/json-schema.js';
import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import type { ApiClient } from '../api-client.js';
import type { Check } from '../clause.js';
import { demand, demandAnswer, demandMembers, demandRefusal, demandSame, demandShape } from '../demands.js';
import type { Scene } from '../scene.js';

/** Every replica honours a revocation within this time. */
const REVOKED_MS = 2_000;

const mint = (by: ApiClient, body: JsonObject) =>
  by.post<{ token: string; expiresAt: string }>('/api/v1/follow-tokens', { may: ['read'], ...body });

async function minted(scene: Scene, body: JsonObject): Promise<string> {
  const answer = await mint(scene.a, body);
  demandAnswer(answer, 201);
  return answer.body.token;
}

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });

/** By its holder, who has no other credentials. */
const asked = (scene: Scene, token: string, path: string, method = 'GET', body?: JsonObject) =>
  body === undefined
    ? scene.stranger.request(method, `/api/v1${path}`, { headers: bearer(token) })
    : scene.stranger.post(`/api/v1${path}`, body, bearer(token));

export const shape: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const answer = await mint(scene.a, { taskId, seconds: 60 });
  demandAnswer(answer, 201);
  demandMembers('the token', answer.body, SCHEMAS.FollowToken);
  demandShape('the token', answer.body, SCHEMAS.FollowToken);
  const { token } = answer.body;
  demand(
    token.startsWith(FOLLOW_TOKEN_PREFIX) && token.length <= MAX_FOLLOW_TOKEN_LENGTH,
    `the token has ${token.length} characters`,
  );
};

export const ofOthers: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  demandRefusal(await mint(scene.b, { taskId }), 'TASK_NOT_FOUND', 'a token for the task of another');
};

export const byHeader: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const token = await minted(scene, { taskId });
  demandAnswer(await asked(scene, token, `/tasks/${taskId}`), 200);
};

export const bySubprotocol: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const token = await minted(scene, { taskId });
  for (const mode of [PLAIN, MULTIPLEX]) {
    const protocols = [mode, TOKEN_SUBPROTOCOL_PREFIX + token];
    const socket = await scene.socket({ protocols }, scene.stranger);
    demandSame('the protocol selected', socket.protocol, mode);
    socket.subscribe(taskId);
    await socket.frame('SUBSCRIPTION_CONFIRMED', ({ type }) => type === 'SUBSCRIPTION_CONFIRMED');
  }
};

export const byQuery: Check = async (scene) => {
  const { taskId, log } = await scene.ended();
  const token = await minted(scene, { taskId });
  const stream = await scene.stranger.request('GET', `/api/v1/tasks/${taskId}/events/stream?token=${token}`);
  demandAnswer(stream, 200);
  demand(
    log.every((raw) => stream.text.includes(raw)),
    'the stream lacks an event of the task',
  );
};

export const notByQuery: Check = async (scene) => {
  const { taskId } = await scene.ended();
  const token = await minted(scene, { taskId });
  demandRefusal(await scene.a.request('GET', `/api/v1/tasks/${taskId}?token=${token}`), 'INVALID_REQUEST', 'a query');
};

export const forged: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const token = await minted(scene, { taskId });
  const last = token.endsWith('A') ? 'B' : 'A';
  for (const bad of [token.slice(0, -1), token.slice(0, -1) + last, `${token}A`]) {
    demandRefusal(await asked(scene, bad, `/tasks/${taskId}`), 'AUTHENTICATION_ERROR', 'a forged token');
  }
  const path = `/api/v1/tasks/${taskId}/events/stream?token=${token}`;
  demandRefusal(
    await scene.stranger.request('GET', path, { headers: bearer(token) }),
    'AUTHENTICATION_ERROR',
    'two tokens',
  );
};

export const twoPrincipals: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const token = await minted(scene, { taskId });
  const path = `/api/v1/tasks/${taskId}/events/stream?token=${token}`;
  demandRefusal(await scene.b.request('GET', path), 'AUTHENTICATION_ERROR', 'a token beside another principal');
};

export const anotherTask: Check = async (scene) => {
  const [{ taskId }, other] = [await scene.waiting(), await scene.waiting()];
  const token = await minted(scene, { taskId, may: ['read', 'cancel'] });
  demandRefusal(await asked(scene, token, `/tasks/${other.taskId}`), 'TASK_NOT_FOUND', 'another task');
  demandRefusal(await asked(scene, token, `/tasks/${other.taskId}/cancel`, 'POST'), 'TASK_NOT_FOUND', 'another task');
  const socket = await scene.socket({ headers: bearer(token) }, scene.stranger);
  socket.subscribe(other.taskId);
  demandSame('the close', (await socket.close()).code, CLOSE_CODES.noSuchTask.code);
};

export const rights: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const token = await minted(scene, { taskId });
  const own = await minted(scene, { owner: true, may: ['read', 'answer', 'cancel'] });
  for (const [refused, path, method] of [
    [token, `/tasks/${taskId}/cancel`, 'POST'],
    [token, '/tasks', 'GET'],
    [own, '/follow-tokens?owner=true', 'DELETE'],
  ] as const) {
    demandRefusal(await asked(scene, refused, path, method), 'ACCESS_DENIED', `${method} ${path}`);
  }
  const body = { clientRequestId: scene.newId(), taskType: scene.anyType };
  demandRefusal(await asked(scene, own, '/tasks', 'POST', body), 'ACCESS_DENIED', 'a create');
  const mayRead = { owner: true, may: ['read'] };
  demandRefusal(await asked(scene, own, '/follow-tokens', 'POST', mayRead), 'ACCESS_DENIED', 'a mint');
};

export const revoked: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const token = await minted(scene, { taskId });
  const socket = await scene.socket({ headers: bearer(token) }, scene.stranger);
  socket.subscribe(taskId);
  await socket.frame('SUBSCRIPTION_CONFIRMED', ({ type }) => type === 'SUBSCRIPTION_CONFIRMED');
  demandAnswer(await scene.a.request('DELETE', `/api/v1/follow-tokens?taskId=${taskId}`), 204);
  const { code } = await socket.close(REVOKED_MS);
  demandSame('the close', code, CLOSE_CODES.notAuthenticated.code);
  demandRefusal(await asked(scene, token, `/tasks/${taskId}`), 'AUTHENTICATION_ERROR', 'a revoked token');
  demandAnswer(await asked(scene, await minted(scene, { taskId }), `/tasks/${taskId}`), 200);
};

export const ended: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const token = await minted(scene, { taskId, seconds: 1 });
  const [socket, stream, page] = [
    await scene.socket({ headers: bearer(token) }, scene.stranger),
    scene.stranger.request('GET', `/api/v1/tasks/${taskId}/events/stream?token=${token}`),
    asked(scene, token, `/tasks/${taskId}/events?waitTimeoutMs=30000`),
  ];
  socket.subscribe(taskId);
  demandSame('the close', (await socket.close()).code, CLOSE_CODES.notAuthenticated.code);
  demandAnswer(await stream, 200);
  const answer = await page;
  demandAnswer(answer, 200);
  demandSame('the events of the page', (answer.body as { events: unknown[] }).events, []);
};

export const renewed: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const other = await minted(scene, { owner: true });
  const socket = await scene.socket(
    { protocols: [MULTIPLEX], headers: bearer(await minted(scene, { taskId, seconds: 2 })) },
    scene.stranger,
  );
  socket.subscribe(taskId);
  await socket.frame('AUTH_EXPIRING', ({ type }) => type === 'AUTH_EXPIRING');
  socket.send({ action: 'authenticate', token: other });
  const { code } = await socket.frame('an ERROR', ({ type }) => type === 'ERROR');
  demandSame('the code of the error', code, 'AUTHENTICATION_ERROR');
  socket.send({ action: 'authenticate', token: await minted(scene, { taskId, seconds: 60 }) });
  await socket.frame('AUTHENTICATED', ({ type }) => type === 'AUTHENTICATED');
  await scene.quiet(2_500);
  demand(socket.isOpen, 'the connection ended with its earlier credentials');
  demandAnswer(await scene.a.cancel(taskId), 202);
  await socket.frame('the end of the task', ({ type }) => type === 'TASK_CANCELLED');
};
