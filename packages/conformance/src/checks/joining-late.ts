import { MULTIPLEX } from '../../../protocol/src/frames.js';
import { SHOWN_OUTPUT } from '../../../protocol/src/limits.js';
import { OutputFold } from '../../../protocol/src/output-fold.js';
import { SCHEMAS, type ShownOutput } from '../../../protocol/src/snapshots.js';
import { CLOSE_CODES } from '../../../protocol/src/close-codes.js';
import type { Check } from '../clause.js';
import { demand, demandAnswer, demandMembers, demandRefusal, demandSame, demandShape, shortened } from '../demands.js';
import { demandFeature } from '../demand-feature.js';
import { accepted, type DrivenTask, output, progress } from '../driven-task.js';
import type { Scene } from '../scene.js';
import { type Block, parsedBlock } from '../sse.js';
import type { Frame } from '../web-socket.js';
import type { Snapshot } from '../wire.js';

type Shown = ShownOutput & { readonly headEventId: string };

async function shownOf(scene: Scene, taskId: string): Promise<Shown & Snapshot> {
  const answer = await scene.a.snapshotWithOutput(taskId);
  demandAnswer(answer, 200);
  demandMembers('a snapshot with output', answer.body, SCHEMAS.TaskSnapshot);
  demandShape('a snapshot with output', answer.body, SCHEMAS.TaskSnapshot);
  const { output: texts, settledEventId, outputAfterEventId } = answer.body;
  demand(
    texts !== undefined && settledEventId !== undefined && outputAfterEventId !== undefined,
    `the snapshot with output is ${shortened(answer.text)}`,
  );
  return { ...answer.body, output: texts, settledEventId, outputAfterEventId };
}

/** A task with a finished step, text before and behind it, and then an attempt that is lost. */
async function begun(scene: Scene): Promise<DrivenTask> {
  await demandFeature(scene, 'outputSnapshots');
  const task = await scene.begin();
  await task.append(output('one '), output('two '), output('other', 'append', 'log'));
  await task.finishStep('a', 1);
  await task.append(output('three '), progress(30));
  return task;
}

const texts = ({ output: channels }: Shown) =>
  Object.fromEntries(
    Object.entries(channels).map(([name, { data, settled, truncated }]) => [name, [data, settled, truncated]]),
  );

export const textSoFar: Check = async (scene) => {
  const task = await begun(scene);
  const running = await shownOf(scene, task.taskId);
  const demanded = { text: ['one two three ', 'one two ', false], log: ['other', 'other', false] };
  demandSame('data, settled and truncated by channel', texts(running), demanded);
  demandSame('outputAfterEventId', running.outputAfterEventId, '0');
  await task.append(output('new', 'replace'));
  await task.retry();
  const retrying = await shownOf(scene, task.taskId);
  demandSame('the text after an attempt was lost', texts(retrying)['text'], ['one two ', 'one two ', false]);
  demandSame('progress, which is void', retrying.progress, 30);
};

export const settled: Check = async (scene) => {
  const task = await begun(scene);
  const step = (await scene.events(task.taskId)).find(({ type }) => type === 'TASK_STEP');
  demandSame('settledEventId behind a step', (await shownOf(scene, task.taskId)).settledEventId, step?.eventId);
  const first = await scene.begin();
  await first.append(output('x'));
  const shown = await shownOf(scene, first.taskId);
  demandSame(
    'settledEventId of a first attempt',
    [shown.settledEventId, texts(shown)],
    ['1', { text: ['x', '', false] }],
  );
};

export const snapshotAndTail: Check = async (scene) => {
  const task = await begun(scene);
  const snapshots = [await shownOf(scene, task.taskId)];
  await task.append(output('four '));
  snapshots.push(await shownOf(scene, task.taskId));
  await task.retry();
  await task.resume(true);
  await task.append(output('five '));
  const log = await scene.events(task.taskId);
  const folded = (fold: OutputFold, from: number) => {
    for (const { eventId, type, payload } of log.slice(from)) fold.add(Number(eventId), type, payload);
    return fold.texts();
  };
  const whole = folded(new OutputFold(), 0);
  for (const shown of snapshots) {
    const joined = folded(new OutputFold(shown), Number(shown.headEventId));
    demandSame(`the snapshot at ${shown.headEventId} and the events after it`, joined, whole);
  }
};

export const boundedText: Check = async (scene) => {
  await demandFeature(scene, 'outputSnapshots');
  const task = await scene.begin();
  const piece = 'x'.repeat(60_000);
  for (let n = 0; n < 10; n += 1) await task.append(output(`${n}${piece}`), progress(n));
  const { output: channels } = await shownOf(scene, task.taskId);
  const { data = '', truncated } = channels['text'] ?? {};
  demandSame('truncated of 600 KB', truncated, true);
  demand(data.length <= SHOWN_OUTPUT.bytes, `the text has ${data.length} characters`);
  demand(data.endsWith(`9${piece}`), `the text ends with ${shortened(data.slice(-100))}`);
};

export const includes: Check = async (scene) => {
  await demandFeature(scene, 'outputSnapshots');
  const { taskId } = await scene.waiting();
  for (const value of ['input', '', 'output,input'])
    demandRefusal(await scene.a.snapshotWithOutput(taskId, value), 'INVALID_REQUEST');
  demandSame('the output of a task that waits', texts(await shownOf(scene, taskId)), {});
};

const dataOf = ({ data = '{}' }: Block) => JSON.parse(data) as Shown & { readonly type: string };
const isSnapshot = (frame: string) => parsedBlock(frame).event === 'snapshot';

export const sseFromSnapshot: Check = async (scene) => {
  const task = await begun(scene);
  const stream = scene.sse(task.taskId, undefined, { query: '?from=snapshot' });
  await stream.until(() => stream.frames.some(isSnapshot), 'the snapshot');
  const block = parsedBlock(stream.frames.find(isSnapshot) ?? '');
  const shown = dataOf(block);
  demandSame(
    'type, id and text',
    [shown.type, block.id, texts(shown)['text']],
    ['TASK_SNAPSHOT', shown.headEventId, ['one two three ', 'one two ', false]],
  );
  const { input: _, ...asked } = await shownOf(scene, task.taskId);
  demandSame('the snapshot without `input`', shown, { type: 'TASK_SNAPSHOT', ...asked });
  const [eventId = ''] = await task.append(output('four'));
  await stream.until(() => stream.has(eventId), 'the next event');
  demandSame('the events behind the snapshot', stream.ids, [eventId]);
};

export const snapshotOfTheEnd: Check = async (scene) => {
  await demandFeature(scene, 'outputSnapshots');
  const task = await scene.begin({ metadata: { screen: 'x' } });
  await task.complete({ answer: 42 });
  const stream = scene.sse(task.taskId, undefined, { query: '?from=snapshot' });
  await stream.until(() => stream.frames.some(isSnapshot), 'the snapshot');
  const shown = dataOf(parsedBlock(stream.frames.find(isSnapshot) ?? ''));
  const { status, result, metadata } = shown as Partial<Snapshot>;
  demandSame('status, result and metadata', [status, result, metadata], ['COMPLETED', { answer: 42 }, { screen: 'x' }]);
};

export const sseFromNow: Check = async (scene) => {
  const task = await begun(scene);
  const stream = scene.sse(task.taskId, undefined, { query: '?from=now' });
  await stream.until(() => stream.frames.some((frame) => parsedBlock(frame).id !== undefined), 'the id');
  const [eventId = ''] = await task.append(output('four'));
  await stream.until(() => stream.has(eventId), 'the next event');
  demandSame('the events', stream.ids, [eventId]);
  const [first] = stream.frames.map(parsedBlock).filter(({ id }) => id !== undefined);
  demandSame('the first id, without data', [first?.id, first?.data], [String(Number(eventId) - 1), undefined]);
};

export const cursorWins: Check = async (scene) => {
  await demandFeature(scene, 'outputSnapshots');
  const { taskId } = await scene.ended();
  for (const [cursor, query] of [
    ['2', '?from=snapshot'],
    ['2', '?from=now'],
    [undefined, '?from=snapshot&lastEventId=2'],
  ] as const) {
    const stream = scene.sse(taskId, cursor, { query });
    await stream.until(() => stream.events.length > 0, `an event with ${query}`);
    demandSame(`the first event with ${query} after 2`, stream.ids[0], '3');
    demand(!stream.frames.some(isSnapshot), `a snapshot came beside a cursor: ${stream.describe()}`);
  }
};

export const fromAtTheEnd: Check = async (scene) => {
  await demandFeature(scene, 'outputSnapshots');
  const { taskId, headEventId } = await scene.ended();
  const stream = scene.sse(taskId, undefined, { query: '?from=snapshot' });
  await stream.ended();
  const blocks = stream.frames.map(parsedBlock).filter(({ id }) => id !== undefined);
  demandSame(
    'the blocks with an id',
    blocks.map(({ id, event }) => [id, event]),
    [[headEventId, 'snapshot']],
  );
  const now = scene.sse(taskId, undefined, { query: '?from=now' });
  demandSame('the status with ?from=now', (await now.ended()).code ?? now.status, 204);
};

export const otherBeginnings: Check = async (scene) => {
  await demandFeature(scene, 'outputSnapshots');
  const { taskId } = await scene.waiting();
  const stream = scene.sse(taskId, undefined, { query: '?from=yesterday' });
  demandSame('the status', (await stream.ended()).code, 400);
};

export const multiplexFromSnapshot: Check = async (scene) => {
  const task = await begun(scene);
  const socket = await scene.socket({ protocols: [MULTIPLEX] });
  socket.subscribe(task.taskId, { from: 'snapshot' });
  await socket.frame('CAUGHT_UP', ({ type }) => type === 'CAUGHT_UP');
  const frames = socket.of(task.taskId);
  demandSame(
    'the first frames',
    frames.map(({ type }) => type),
    ['SUBSCRIPTION_CONFIRMED', 'TASK_SNAPSHOT', 'CAUGHT_UP'],
  );
  const [confirmed, snapshot] = frames.map(
    ({ raw }) => JSON.parse(raw) as Shown & { replayStartedAfterEventId: string },
  );
  demandSame('its text', snapshot && texts(snapshot)['text'], ['one two three ', 'one two ', false]);
  demandSame('replayStartedAfterEventId', confirmed?.replayStartedAfterEventId, snapshot?.headEventId);
  const [eventId = ''] = await task.append(output('four'));
  const isEvent = (frame: Frame) => frame.eventId !== undefined;
  demandSame('the first event', (await socket.frame('the next event', isEvent)).eventId, eventId);
  const other = await scene.begin();
  socket.subscribe(other.taskId, { from: 'now' });
  const isCaughtUp = ({ type, taskId }: Frame) => type === 'CAUGHT_UP' && taskId === other.taskId;
  demandSame('headEventId with from=now', (await socket.frame('CAUGHT_UP', isCaughtUp)).headEventId, '1');
  demandSame(
    'the frames with from=now',
    socket.of(other.taskId).map(({ type }) => type),
    ['SUBSCRIPTION_CONFIRMED', 'CAUGHT_UP'],
  );
};

export const fromWithoutSubprotocol: Check = async (scene) => {
  await demandFeature(scene, 'outputSnapshots');
  const { taskId } = await scene.waiting();
  const socket = await scene.socket();
  socket.subscribe(taskId, { from: 'snapshot' });
  demandSame('the close code', (await socket.close()).code, CLOSE_CODES.badFrame.code);
};

export const backwards: Check = async (scene) => {
  await demandFeature(scene, 'beforeEventId');
  const { taskId, log, headEventId } = await scene.ended();
  const head = Number(headEventId);
  const ids: string[] = [];
  for (let before = String(head + 1); ; ) {
    const answer = await scene.a.page(taskId, { beforeEventId: before, maxEvents: 3 });
    demandAnswer(answer, 200);
    const { events, hasMore, nextBeforeEventId, terminal } = answer.body;
    const last = Number(before) - 1;
    demandSame(
      `the ids before ${before}`,
      events.map(({ eventId }) => Number(eventId)),
      Array.from({ length: Math.min(3, last) }, (_, n) => last - Math.min(3, last) + 1 + n),
    );
    demandSame('terminal and headEventId', [terminal, answer.body.headEventId], [last === head, headEventId]);
    ids.unshift(...events.map(({ eventId }) => eventId));
    if (!hasMore) break;
    before = nextBeforeEventId ?? '';
  }
  demandSame('how many events all pages have', ids.length, log.length);
  const none = await scene.a.page(taskId, { beforeEventId: '1' });
  demandSame(
    'before the first',
    [none.body.events, none.body.hasMore, none.body.nextBeforeEventId],
    [[], false, undefined],
  );
};

export const backwardsCursor: Check = async (scene) => {
  await demandFeature(scene, 'beforeEventId');
  const { taskId, headEventId } = await scene.ended();
  for (const beforeEventId of ['', '0', 'x', '-1', '01'])
    demandRefusal(await scene.a.page(taskId, { beforeEventId }), 'INVALID_CURSOR', beforeEventId);
  const ahead = await scene.a.page(taskId, { beforeEventId: String(Number(headEventId) + 2) });
  demandRefusal(ahead, 'CURSOR_AHEAD');
};

export const backwardsAlone: Check = async (scene) => {
  await demandFeature(scene, 'beforeEventId');
  const { taskId } = await scene.ended();
  for (const other of [{ afterEventId: '1' }, { waitTimeoutMs: 0 }])
    demandRefusal(await scene.a.page(taskId, { beforeEventId: '3', ...other }), 'INVALID_REQUEST');
};

export const listedByRequest: Check = async (scene) => {
  await demandFeature(scene, 'listByRequestId');
  const [clientRequestId, other] = [`${scene.newId()} é`, scene.newId()];
  const { taskId, taskType } = await scene.waiting({ clientRequestId });
  await scene.create({ clientRequestId: other, taskType });
  const listed = async (id: string) =>
    accepted(await scene.a.list({ clientRequestId: id })).items.map((item) => item.taskId);
  demandSame('the list of a request', await listed(clientRequestId), [taskId]);
  demandSame('of its other normal form', await listed(clientRequestId.normalize('NFD')), [taskId]);
  demandSame('of an unknown one', await listed(scene.newId()), []);
  demandRefusal(await scene.a.list({ clientRequestId: '' }), 'INVALID_REQUEST');
};
