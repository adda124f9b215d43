import type { JsonObject } from '../../../protocol/src/json-schema.js';
import { HEARTBEAT } from '../web-socket.js';
import type { Check } from '../clause.js';
import { demand, demandSame, refusal, shortened } from '../demands.js';
import { parsedBlock } from '../sse.js';
import { ABSENT_TASK, type Envelope } from '../wire.js';

/** A heartbeat comes after this much silence, unless the operator chose less. */
const HEARTBEAT_SECONDS = 15;
const SLACK_MS = 5_000;

export const retryFirst: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const stream = scene.sse(taskId);
  await stream.until(() => stream.frames.length > 0, 'the first block');
  demandSame('the first block', parsedBlock(stream.frames[0] ?? '').lines, ['retry: 2000']);
  demandSame('the status', stream.status, 200);
  const type = stream.headers.get('content-type') ?? '';
  demand(/^text\/event-stream\b/.test(type), `Content-Type is ${type}`);
};

export const oneBlockEach: Check = async (scene) => {
  const { taskId } = await scene.ended();
  const stream = scene.sse(taskId);
  await stream.until(() => stream.hasTerminal, 'the terminal event');
  const blocks = stream.frames.map(parsedBlock).filter(({ data, event }) => data !== undefined && event === 'message');
  for (const { lines, data = '', id } of blocks) {
    const isWhole = lines.length === 2 && lines[0]?.startsWith('id:') && lines[1]?.startsWith('data:');
    demand(isWhole, `an event is the block ${shortened(JSON.stringify(lines))}`);
    demandSame('id, beside eventId', id, (JSON.parse(data) as Envelope).eventId);
  }
};

export const cursorOfSse: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const firstOf = async (cursor: string | undefined, query: string) => {
    const stream = scene.sse(taskId, cursor, { query });
    await stream.comes(() => stream.events.length > 0);
    return stream.ids[0];
  };
  const before = String(Number(headEventId) - 1);
  demandSame('the first event after the header 2', await firstOf('2', ''), '3');
  demandSame('the first event after ?lastEventId=2', await firstOf(undefined, '?lastEventId=2'), '3');
  demandSame('with the header beside ?lastEventId=2', await firstOf(before, '?lastEventId=2'), headEventId);
};

export const settledBefore: Check = async (scene) => {
  const stream = scene.sse(ABSENT_TASK);
  const { how, code, reason = '' } = await stream.ended();
  const [status, expected] = refusal('TASK_NOT_FOUND');
  demandSame('a stream on a task that does not exist', [how, code], ['status', status]);
  demand(reason.includes(`"${expected}"`), `the body is ${reason}`);
};

export const noContentAtTheEnd: Check = async (scene) => {
  const { taskId, headEventId } = await scene.ended();
  const stream = scene.sse(taskId, headEventId);
  await stream.comes(() => stream.status !== 0);
  await stream.comes(() => stream.end !== undefined);
  demandSame('the status at the terminal event', stream.status, 204);
};

export const heartbeatOfSse: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const stream = scene.sse(taskId);
  const isHeartbeat = (frame: string) => parsedBlock(frame).event === 'heartbeat';
  const withinMs = HEARTBEAT_SECONDS * 1000 + SLACK_MS;
  await stream.until(() => stream.frames.some(isHeartbeat), 'a heartbeat', withinMs);
  const block = parsedBlock(stream.frames.find(isHeartbeat) ?? '');
  demand(block.id === undefined, `a heartbeat has an id: ${JSON.stringify(block.lines)}`);
  const { type, taskId: about, payload } = JSON.parse(block.data ?? '{}') as JsonObject;
  demandSame('its data', [type, about, payload], [HEARTBEAT, taskId, { live: true }]);
};
