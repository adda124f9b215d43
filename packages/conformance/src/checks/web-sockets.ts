import { CLOSE_CODES, type CloseName } from '../../../protocol/src/close-codes.js';
import type { Frame } from '../../../protocol/src/frames.js';
import { MAX_FRAME_BYTES } from '../../../protocol/src/limits.js';
import type { Check } from '../clause.js';
import { demand, demandSame } from '../demands.js';
import { ABSENT_TASK } from '../wire.js';
import type { Scene } from '../scene.js';
import { HEARTBEAT, type Socket } from '../web-socket.js';

const SUBSCRIBE_DEADLINE_MS = 10_000;
const HEARTBEAT_MS = 15_000;
const PING_MS = 20_000;
const PONG_MS = 10_000;
const SLACK_MS = 5_000;

export const confirmed: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const cursors: [object, string | null][] = [
    [{}, null],
    [{ lastEventId: null }, null],
    [{ lastEventId: '' }, null],
    [{ lastEventId: '2' }, '2'],
  ];
  for (const [members, replayStartedAfterEventId] of cursors) {
    const socket = await scene.socket();
    socket.subscribe(taskId, members);
    await socket.until(() => socket.frames.length > 0, 'SUBSCRIPTION_CONFIRMED');
    const { raw = '{}' } = socket.frames[0] ?? {};
    demandSame(`the first frame after a subscribe with ${JSON.stringify(members)}`, JSON.parse(raw), {
      type: 'SUBSCRIPTION_CONFIRMED',
      taskId,
      replayStartedAfterEventId,
      live: true,
      headEventId,
    } satisfies Frame<'SUBSCRIPTION_CONFIRMED'>);
    socket.leave();
  }
};

/** Events stand in frames of their own, and nothing else does without the subprotocol. */
export const framesOfOneTask: Check = async (scene) => {
  const { taskId, log } = await scene.ended();
  const socket = await scene.socket();
  socket.subscribe(taskId);
  await socket.close();
  const frames = socket.frames.slice(1).map(({ raw }) => raw);
  demandSame('what follows SUBSCRIPTION_CONFIRMED', frames, log);
};

export const overAtOnce: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const socket = await scene.socket();
  socket.subscribe(taskId, { lastEventId: headEventId });
  demandSame('the close at the terminal event', (await socket.close()).code, CLOSE_CODES.over.code);
};

const demandClosed = async (scene: Scene, what: string, send: (socket: Socket) => void, name: CloseName) => {
  const socket = await scene.socket();
  send(socket);
  const { code } = await socket.close();
  demandSame(`the close of ${what}`, code, CLOSE_CODES[name].code);
};

export const brokenProtocol: Check = (scene) =>
  demandClosed(scene, 'a frame without a mask', (socket) => socket.sendUnmasked(), 'protocolBroken');

export const binaryFrame: Check = (scene) =>
  demandClosed(scene, 'a binary frame', (socket) => socket.sendBytes(frameFor(ABSENT_TASK), true), 'binary');

export const invalidUtf8: Check = (scene) =>
  demandClosed(
    scene,
    'a frame with invalid UTF-8',
    (socket) => socket.sendBytes(Buffer.from([0x7b, 0xc3, 0x28])),
    'invalidText',
  );

export const tooLargeFrame: Check = (scene) =>
  demandClosed(
    scene,
    'a frame that is too large',
    (socket) => socket.sendBytes(' '.repeat(MAX_FRAME_BYTES + 1)),
    'tooLarge',
  );

const frameFor = (taskId: string, more: object = {}) => JSON.stringify({ action: 'subscribe', taskId, ...more });

export const badFrames: Check = async (scene) => {
  const { taskId } = await scene.ended();
  const frames = [
    'no json',
    '[]',
    '{}',
    JSON.stringify({ action: 'publish', taskId }),
    JSON.stringify({ action: 'unsubscribe', taskId }),
    JSON.stringify({ action: 'subscribe' }),
    frameFor(''),
    frameFor('with space'),
    frameFor('x'.repeat(256)),
    frameFor(taskId, { lastEventId: 1 }),
    frameFor(taskId, { ref: 'left-panel' }),
    frameFor(taskId, { since: '1' }),
    `{"action":"subscribe","taskId":"${taskId}","taskId":"${taskId}"}`,
  ];
  await Promise.all(
    frames.map((frame) =>
      demandClosed(scene, `the frame ${frame.slice(0, 120)}`, (socket) => socket.sendBytes(frame), 'badFrame'),
    ),
  );
};

export const secondSubscribe: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  await demandClosed(
    scene,
    'a second subscribe where one task is followed',
    (socket) => {
      socket.subscribe(taskId);
      socket.subscribe(taskId);
    },
    'badFrame',
  );
};

export const absentTask: Check = async (scene) => {
  const socket = await scene.socket();
  socket.subscribe(ABSENT_TASK);
  demandSame('the close for a task that does not exist', await socket.close(), {
    code: CLOSE_CODES.noSuchTask.code,
    reason: 'TASK_NOT_FOUND',
  });
};

export const noSubscribe: Check = async (scene) => {
  const socket = await scene.socket();
  const { code } = await socket.close(SUBSCRIBE_DEADLINE_MS + SLACK_MS);
  demandSame('the close of a WebSocket without a subscribe', code, CLOSE_CODES.noSubscribe.code);
};

export const heartbeatOfWebSocket: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const socket = await scene.socket();
  socket.subscribe(taskId);
  const { raw } = await socket.frame('a heartbeat', ({ type }) => type === HEARTBEAT, HEARTBEAT_MS + SLACK_MS);
  const heartbeat = JSON.parse(raw) as object;
  demandSame('a heartbeat', heartbeat, { type: HEARTBEAT, taskId, live: true } satisfies Frame<'heartbeat'>);
};

/** A client that answers pings is kept. The service hangs up on one that does not. */
export const pings: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const alive = await scene.socket();
  alive.subscribe(taskId);
  const silent = await scene.socket({ answersPings: false });
  silent.subscribe(taskId);
  await silent.until(() => silent.pings > 0, 'a ping', PING_MS + SLACK_MS);
  await silent.close(PONG_MS + SLACK_MS);
  demand(alive.isOpen, `a client that answers pings was closed too: ${JSON.stringify(alive.closed)}`);
};
