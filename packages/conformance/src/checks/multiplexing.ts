import { CLOSE_CODES } from '../../../protocol/src/close-codes.js';
import type { ErrorCode } from '../../../protocol/src/errors.js';
import { type Frame as MessageOf, type FrameName, MULTIPLEX } from '../../../protocol/src/frames.js';
import type { Check } from '../clause.js';
import { demand, demandSame, shortened } from '../demands.js';
import { progress } from '../driven-task.js';
import type { Scene } from '../scene.js';
import { ABSENT_TASK } from '../wire.js';
import { HEARTBEAT, type Frame, type Socket } from '../web-socket.js';

/** Frames about a subscription are named by their type. */
type FrameType = Extract<FrameName, Uppercase<string>>;

const HEARTBEAT_MS = 20_000;
const TASKS = 4;

const opened = (scene: Scene) => scene.socket({ protocols: [MULTIPLEX] });

const isFor =
  (type: FrameType, taskId: string) =>
  (frame: Frame): boolean =>
    frame.type === type && frame.taskId === taskId;

const told = (socket: Socket, taskId: string) =>
  shortened(
    socket
      .of(taskId)
      .map(({ type, eventId = '' }) => type + eventId)
      .join(' '),
  );

const eventsOf = (socket: Socket, taskId: string) => socket.of(taskId).filter(({ eventId }) => eventId !== undefined);

export const selected: Check = async (scene) => {
  const protocolOf = async (...protocols: string[]) => (await scene.socket({ protocols })).protocol;
  demandSame('the protocol selected', await protocolOf(MULTIPLEX), MULTIPLEX);
  demandSame('the protocol selected of several', await protocolOf('other.v1', MULTIPLEX), MULTIPLEX);
  demandSame('the protocol selected where none is offered', await protocolOf(), '');
};

export const order: Check = async (scene) => {
  const { taskId, log, headEventId } = await scene.ended();
  const socket = await opened(scene);
  socket.subscribe(taskId, { lastEventId: '1', ref: 'left-panel' });
  await socket.frame('SUBSCRIPTION_ENDED', isFor('SUBSCRIPTION_ENDED', taskId));
  const first = socket.of(taskId)[0];
  demand(first?.type === 'SUBSCRIPTION_CONFIRMED', `the frames are ${told(socket, taskId)}`);
  demandSame('the last frame', JSON.parse(socket.of(taskId).at(-1)?.raw ?? '{}'), {
    type: 'SUBSCRIPTION_ENDED',
    taskId,
    reason: 'terminal',
  } satisfies MessageOf<'SUBSCRIPTION_ENDED'>);
  demand(
    eventsOf(socket, taskId).every(({ raw }) => log.includes(raw)),
    `the frames are ${told(socket, taskId)}`,
  );
  demandSame('headEventId of the confirmation', first.headEventId, headEventId);
};

/** The task goes on, so an event follows CAUGHT_UP. */
export const caughtUp: Check = async (scene) => {
  const task = await scene.begin();
  await task.append(progress(1));
  const socket = await opened(scene);
  socket.subscribe(task.taskId);
  await socket.frame('CAUGHT_UP', isFor('CAUGHT_UP', task.taskId));
  await task.append(progress(2));
  await task.complete();
  await socket.frame('SUBSCRIPTION_ENDED', isFor('SUBSCRIPTION_ENDED', task.taskId));
  const frames = socket.of(task.taskId);
  const places = frames.flatMap(({ type }, at) => (type === 'CAUGHT_UP' ? [at] : []));
  demand(places.length === 1, `CAUGHT_UP came ${places.length} times: ${told(socket, task.taskId)}`);
  const at = places[0] ?? 0;
  demandSame(
    'the event before CAUGHT_UP, and its headEventId',
    [frames[at - 1]?.eventId, frames[at]?.headEventId],
    ['2', '2'],
  );
};

export const caughtUpAtOnce: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const socket = await opened(scene);
  socket.subscribe(taskId);
  const { headEventId } = await socket.frame('CAUGHT_UP', isFor('CAUGHT_UP', taskId));
  demandSame('headEventId of a task without events', headEventId, '0');
};

export const unsubscribed: Check = async (scene) => {
  const task = await scene.begin();
  const socket = await opened(scene);
  socket.subscribe(task.taskId);
  await socket.frame('CAUGHT_UP', isFor('CAUGHT_UP', task.taskId));
  socket.unsubscribe(task.taskId);
  const { reason } = await socket.frame('SUBSCRIPTION_ENDED', isFor('SUBSCRIPTION_ENDED', task.taskId));
  demandSame('the reason', reason, 'unsubscribed');
  await task.append(progress(1));
  await scene.quiet();
  const last = socket.of(task.taskId).at(-1);
  demand(last?.type === 'SUBSCRIPTION_ENDED', `after SUBSCRIPTION_ENDED came ${told(socket, task.taskId)}`);
};

export const subscribedAgain: Check = async (scene) => {
  const { taskId, log } = await scene.ended();
  const socket = await opened(scene);
  for (const rounds of [1, 2]) {
    socket.subscribe(taskId);
    const isEnd = isFor('SUBSCRIPTION_ENDED', taskId);
    await socket.until(() => socket.frames.filter(isEnd).length === rounds, `SUBSCRIPTION_ENDED, ${rounds}`);
  }
  demandSame('the events of two subscriptions, one after the other', eventsOf(socket, taskId).length, 2 * log.length);
};

export const alreadySubscribed: Check = async (scene) => {
  const task = await scene.begin();
  const socket = await opened(scene);
  socket.subscribe(task.taskId);
  await socket.frame('CAUGHT_UP', isFor('CAUGHT_UP', task.taskId));
  socket.subscribe(task.taskId, { ref: 'again' });
  const error = await socket.frame(
    'the answer to a second subscribe',
    (frame) => frame.type !== HEARTBEAT && frame.ref === 'again',
  );
  demandSame(
    'the answer to a second subscribe',
    [error.type, error.taskId, error.code],
    ['ERROR', task.taskId, 'ALREADY_SUBSCRIBED' satisfies ErrorCode],
  );
  const [eventId = ''] = await task.append(progress(1));
  await socket.frame('the next event, on the first subscription', (frame) => frame.eventId === eventId);
};

export const notSubscribed: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const socket = await opened(scene);
  socket.unsubscribe(taskId);
  const error = await socket.frame('the answer to an unsubscribe', isFor('ERROR', taskId));
  demandSame('its code', error.code, 'NOT_SUBSCRIBED' satisfies ErrorCode);
  demand(socket.isOpen, `the connection was closed: ${JSON.stringify(socket.closed)}`);
};

export const onlyItsOwn: Check = async (scene) => {
  const task = await scene.begin();
  const socket = await opened(scene);
  socket.subscribe(task.taskId);
  socket.subscribe(ABSENT_TASK, { ref: 'right-panel' });
  const error = await socket.frame('the answer for a task that does not exist', isFor('ERROR', ABSENT_TASK));
  demandSame('its code and ref', [error.code, error.ref], ['TASK_NOT_FOUND' satisfies ErrorCode, 'right-panel']);
  const [eventId = ''] = await task.append(progress(1));
  await socket.frame('the next event of another task', (frame) => frame.eventId === eventId);
};

export const manyTasks: Check = async (scene) => {
  const tasks = await Promise.all(Array.from({ length: TASKS }, () => scene.begin()));
  const socket = await opened(scene);
  for (const { taskId } of tasks) socket.subscribe(taskId);
  await Promise.all(
    tasks.map(async (task, n) => {
      for (let percent = 0; percent <= n; percent += 1) await task.append(progress(percent));
      await task.complete();
    }),
  );
  for (const [n, { taskId }] of tasks.entries()) {
    await socket.frame('SUBSCRIPTION_ENDED', isFor('SUBSCRIPTION_ENDED', taskId));
    const ids = eventsOf(socket, taskId).map(({ eventId }) => eventId);
    demandSame(
      `the events of one of ${TASKS} tasks`,
      ids,
      Array.from({ length: n + 3 }, (_, at) => String(at + 1)),
    );
  }
};

export const staysOpen: Check = async (scene) => {
  const { taskId } = await scene.ended();
  const socket = await opened(scene);
  socket.subscribe(taskId);
  await socket.frame('SUBSCRIPTION_ENDED', isFor('SUBSCRIPTION_ENDED', taskId));
  await scene.quiet();
  demand(socket.isOpen, `the connection was closed: ${JSON.stringify(socket.closed)}`);
};

export const badFrameEndsAll: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const socket = await opened(scene);
  socket.subscribe(taskId);
  socket.send({ action: 'unsubscribe', taskId, ref: 'for subscribe alone' });
  demandSame('the close code', (await socket.close()).code, CLOSE_CODES.badFrame.code);
};

export const heartbeatOfMany: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const socket = await opened(scene);
  socket.subscribe(taskId);
  const { raw } = await socket.frame('a heartbeat', ({ type }) => type === HEARTBEAT, HEARTBEAT_MS);
  demandSame('a heartbeat', JSON.parse(raw), { type: HEARTBEAT, live: true });
};
