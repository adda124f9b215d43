import { CLOSE_CODES } from '../../../protocol/src/close-codes.js';
import { ERROR_KINDS, type ErrorCode, kindOf } from '../../../protocol/src/errors.js';
import { MULTIPLEX } from '../../../protocol/src/frames.js';
import type { Check } from '../clause.js';
import { demand, demandRefusal, demandSame, refusal } from '../demands.js';
import type { Scene } from '../scene.js';
import { ALL_TRANSPORTS } from '../transports.js';

/** None of them is an event id. */
const MALFORMED = ['x', '-1', '1.5', '01', ' 1', '1e2', '0x1', '١'];
const FAR_AHEAD = ['9007199254740993', '99999999999999999999999999'];

/** The `Last-Event-ID` header holds no other characters. */
const isAscii = (text: string) => /^[\x21-\x7e]+$/.test(text);

export const startCursors: Check = async (scene) => {
  const { taskId, log } = await scene.ended();
  const followers = ALL_TRANSPORTS.flatMap((transport) =>
    [undefined, '', '0'].map((cursor) => ({ transport, cursor, follower: scene.follow(transport, taskId, cursor) })),
  );
  for (const { transport, cursor, follower } of followers) {
    await follower.comes(() => follower.hasTerminal);
    const how = `${transport} with ${cursor === undefined ? 'no cursor' : `the cursor "${cursor}"`}`;
    demand(follower.ids[0] === '1', `${how} began at ${follower.ids[0]} of ${log.length}: ${follower.describe()}`);
  }
};

export const pollMalformed: Check = async (scene) => {
  const { taskId } = await scene.ended();
  for (const afterEventId of MALFORMED) {
    demandRefusal(await scene.a.page(taskId, { afterEventId, waitTimeoutMs: 0 }), 'INVALID_CURSOR');
  }
};

export const pollAhead: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  for (const afterEventId of [next(headEventId), ...FAR_AHEAD]) {
    const answer = await scene.a.page(taskId, { afterEventId, waitTimeoutMs: 0 });
    demandRefusal(answer, 'CURSOR_AHEAD');
    demandSame('details', (answer.body as unknown as { details: unknown }).details, { headEventId });
  }
};

export const sseMalformed: Check = async (scene) => {
  const { taskId } = await scene.ended();
  for (const cursor of MALFORMED.filter(isAscii)) await demandSseRefusal(scene, taskId, cursor, 'INVALID_CURSOR');
};

export const sseAhead: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  for (const cursor of [next(headEventId), ...FAR_AHEAD]) {
    await demandSseRefusal(scene, taskId, cursor, 'CURSOR_AHEAD');
  }
};

async function demandSseRefusal(scene: Scene, taskId: string, cursor: string, code: ErrorCode) {
  const headers = { Accept: 'text/event-stream', 'Last-Event-ID': cursor };
  const stream = await scene.a.open('GET', `/api/v1/tasks/${taskId}/events/stream`, { headers });
  const isRefused = stream.status >= 400;
  const text = isRefused || stream.status === 204 ? await stream.text() : '';
  if (!isRefused) await stream.body?.cancel().catch(() => undefined);
  const seen = `SSE with Last-Event-ID: ${cursor} was answered ${stream.status} ${text}`;
  const [status] = refusal(code);
  demand(stream.status === status && text.includes(`"${code}"`), `${seen}, demanded: ${status} ${code}`);
}

export const webSocketMalformed: Check = async (scene) => {
  const { taskId } = await scene.ended();
  for (const lastEventId of MALFORMED) await demandClose(scene, taskId, lastEventId, 'INVALID_CURSOR');
};

export const webSocketAhead: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  for (const lastEventId of [next(headEventId), ...FAR_AHEAD]) {
    await demandClose(scene, taskId, lastEventId, 'CURSOR_AHEAD');
  }
};

async function demandClose(scene: Scene, taskId: string, lastEventId: string, reason: ErrorCode) {
  const socket = await scene.socket();
  socket.subscribe(taskId, { lastEventId });
  const closed = await socket.close();
  demandSame(`the close after a subscribe with lastEventId "${lastEventId}"`, closed, {
    code: CLOSE_CODES[ERROR_KINDS[kindOf(reason)].close].code,
    reason,
  });
}

/** Such a cursor costs its own subscription alone. */
export const multiplexCursors: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const socket = await scene.socket({ protocols: [MULTIPLEX] });
  const wrong = [
    ...MALFORMED.map((cursor) => ({ cursor, code: 'INVALID_CURSOR' })),
    ...[next(headEventId), ...FAR_AHEAD].map((cursor) => ({ cursor, code: 'CURSOR_AHEAD' })),
  ];
  for (const { cursor, code } of wrong) {
    socket.subscribe(taskId, { lastEventId: cursor, ref: cursor });
    const frame = await socket.frame(`the answer to the cursor "${cursor}"`, ({ ref }) => ref === cursor);
    demandSame(`the answer to the cursor "${cursor}"`, [frame.type, frame.code], ['ERROR', code]);
  }
  demand(socket.isOpen, `the connection was closed: ${JSON.stringify(socket.closed)}`);
};

function next(eventId: string): string {
  return String(Number(eventId) + 1);
}
