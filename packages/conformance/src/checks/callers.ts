import { CLOSE_CODES } from '../../../protocol/src/close-codes.js';
import { MULTIPLEX } from '../../../protocol/src/frames.js';
import { type Check } from '../clause.js';
import { NotChecked } from '../outcomes.js';
import type { Answer, ApiClient } from '../api-client.js';
import { demandSame, refusal, shown } from '../demands.js';
import type { Scene } from '../scene.js';
import { ABSENT_TASK } from '../wire.js';

type Ask = (by: ApiClient, taskId: string) => Promise<Answer<unknown>>;

const READS: Readonly<Record<string, Ask>> = {
  snapshot: (by, taskId) => by.snapshot(taskId),
  events: (by, taskId) => by.page(taskId, { waitTimeoutMs: 0 }),
  'events ahead': (by, taskId) => by.page(taskId, { waitTimeoutMs: 0, afterEventId: '999' }),
  stream: (by, taskId) =>
    by.request('GET', `/api/v1/tasks/${taskId}/events/stream`, {
      headers: { Accept: 'text/event-stream', 'Last-Event-ID': '999' },
    }),
  attachment: (by, taskId) => by.request('GET', `/api/v1/tasks/${taskId}/attachments/${ABSENT_TASK}`),
};

const WRITES: Readonly<Record<string, Ask>> = {
  cancel: (by, taskId) => by.cancel(taskId),
  action: (by, taskId) => by.act(taskId, { clientActionId: 'a', suspendId: 's', actionType: 'yes' }),
};

const demandEqualAnswers = async (scene: Scene, asks: Readonly<Record<string, Ask>>) => {
  const { taskId } = await scene.ended();
  for (const ask of Object.values(asks)) {
    const [foreign, absent] = await Promise.all([ask(scene.b, taskId), ask(scene.b, ABSENT_TASK)]);
    demandSame(
      `${shown(foreign)}; an id that was never given out`,
      seenBy(foreign, taskId),
      seenBy(absent, ABSENT_TASK),
    );
  }
};

/**
 * Everything by which a client could distinguish two answers: the status, the names of headers, and the body without its time and
 * correlation id.
 */
function seenBy({ status, headers, text, body }: Answer<unknown>, taskId: string) {
  const { timestamp, correlationId } = (body ?? {}) as { timestamp?: string; correlationId?: string };
  const bytes = text
    .replace(timestamp ?? '\0', '')
    .replace(correlationId ?? '\0', '')
    .replaceAll(taskId, '');
  return { status, headers: [...headers.keys()].sort(), bytes };
}

export const foreignIsAbsent: Check = (scene) => demandEqualAnswers(scene, READS);
export const foreignIsNotControlled: Check = (scene) => demandEqualAnswers(scene, WRITES);

export const foreignByWebSocket: Check = async (scene) => {
  const { taskId } = await scene.ended();
  const [foreign, absent] = await Promise.all(
    [taskId, ABSENT_TASK].map(async (id) => {
      const socket = await scene.socket({}, scene.b);
      socket.subscribe(id, { lastEventId: '999' });
      return { closed: await socket.close(), frames: socket.frames.length };
    }),
  );
  demandSame('the close for a foreign task', foreign, absent);
};

export const foreignByMultiplex: Check = async (scene) => {
  const { taskId } = await scene.ended();
  const socket = await scene.socket({ protocols: [MULTIPLEX] }, scene.b);
  const answerTo = async (id: string) => {
    socket.subscribe(id, { lastEventId: '999' });
    const { raw } = await socket.frame('the answer to a subscribe', (frame) => frame.taskId === id);
    return raw.replace(id, '');
  };
  demandSame('the frame about a foreign task', await answerTo(taskId), await answerTo(ABSENT_TASK));
};

/** A request without credentials is refused, unless the installation accepts it. */
export const unauthenticated: Check = async (scene) => {
  const answer = await scene.stranger.list({ limit: 1 });
  if (answer.status === 200) throw new NotChecked('the service also answers those who show no credentials');
  demandSame(
    'an answer to nobody',
    [answer.status, (answer.body as { code?: string }).code],
    refusal('AUTHENTICATION_ERROR'),
  );
};

export const unauthenticatedWebSocket: Check = async (scene) => {
  if ((await scene.stranger.list({ limit: 1 })).status === 200) {
    throw new NotChecked('the service also answers those who show no credentials');
  }
  const socket = scene.unopenedSocket({}, scene.stranger);
  await socket.until(() => socket.isOpen || socket.refused !== undefined, 'an answer to the handshake');
  demandSame('the status of a handshake without credentials', socket.refused?.status, 401);
};

export const unauthenticatedBrowser: Check = async (scene) => {
  if ((await scene.stranger.list({ limit: 1 })).status === 200) {
    throw new NotChecked('the service also answers those who show no credentials');
  }
  const headers = { Origin: new URL(scene.stranger.baseUrl).origin };
  const socket = scene.unopenedSocket({ headers }, scene.stranger);
  await socket.until(() => socket.isOpen || socket.refused !== undefined, 'the opening of the WebSocket');
  if (socket.refused) throw new NotChecked(`something in front of the service answered ${socket.refused.status}`);
  const { code } = await socket.close();
  demandSame('the close of a WebSocket without credentials', code, CLOSE_CODES.notAuthenticated.code);
};
