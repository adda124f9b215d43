import { MULTIPLEX } from '../../../protocol/src/frames.js';
import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import type { ApiClient, Query } from '../api-client.js';
import type { Check } from '../clause.js';
import { demand, demandAnswer, demandMembers, demandRefusal, demandSame, demandShape } from '../demands.js';
import { parsedBlock, type SseFollower } from '../sse.js';
import type { ChangesPage } from '../wire.js';

const WAIT_MS = 10_000;

async function asked(client: ApiClient, query: Query): Promise<ChangesPage> {
  const answer = await client.changes(query);
  demandAnswer(answer, 200);
  return answer.body;
}

const now = async (client: ApiClient) => (await asked(client, { waitTimeoutMs: 0 })).next;

const idOf = ({ task, taskId }: ChangesPage['changes'][number]) => task?.taskId ?? taskId;

/** The last change of a task after a cursor, and the cursor behind it. */
async function changeOf(client: ApiClient, taskId: string, after: string, query: Query = {}) {
  for (let next = after; ; ) {
    const page = await asked(client, { ...query, after: next, waitTimeoutMs: WAIT_MS });
    const change = page.changes.findLast((one) => idOf(one) === taskId);
    if (change) return { change, next: page.next };
    demand(page.changes.length > 0, `no change of ${taskId} within ${WAIT_MS} ms`);
    next = page.next;
  }
}

export const eachChange: Check = async (scene) => {
  const start = await now(scene.a);
  const { taskId, taskType } = await scene.waiting();
  const created = await changeOf(scene.a, taskId, start);
  demandSame('the status of a new task', created.change.task?.status, 'ACCEPTED');
  const task = await scene.claimed(taskId, taskType);
  const begun = await changeOf(scene.a, taskId, created.next);
  demandSame('the status of a task that has begun', begun.change.task?.status, 'RUNNING');
  await task.complete({});
  const { change } = await changeOf(scene.a, taskId, begun.next);
  demandSame('the status of a task that is over', change.task?.status, 'COMPLETED');
};

export const state: Check = async (scene) => {
  const start = await now(scene.a);
  const { taskId } = await scene.waiting({ input: { a: 1 }, metadata: { b: 2 } });
  const { change } = await changeOf(scene.a, taskId, start);
  demandMembers('a change', change, SCHEMAS.TaskChange);
  const { input: _, attachments: __, result: ___, ...expected } = (await scene.a.snapshot(taskId)).body;
  demandSame('the task, beside its snapshot', change.task, expected);
};

export const ownOnly: Check = async (scene) => {
  const start = await now(scene.b);
  const { taskId } = await scene.waiting();
  await changeOf(scene.a, taskId, start);
  const page = await asked(scene.b, { after: start, waitTimeoutMs: scene.quietMs });
  demand(!page.changes.some((change) => idOf(change) === taskId), 'another principal got the task');
};

export const left: Check = async (scene) => {
  const start = await now(scene.a);
  const { taskId, taskType } = await scene.waiting();
  const query = { status: 'ACCEPTED', taskType };
  const { next } = await changeOf(scene.a, taskId, start, query);
  await scene.claimed(taskId, taskType);
  const { change } = await changeOf(scene.a, taskId, next, query);
  demandSame('a change', { ...change, cursor: undefined }, { cursor: undefined, taskId, left: true });
};

export const filtered: Check = async (scene) => {
  const start = await now(scene.a);
  const { taskId, taskType } = await scene.waiting({ metadata: { colour: 'red', n: 5 } });
  const other = await scene.waiting({ metadata: { colour: 'blue', n: 5 } });
  for (const query of [{ taskType }, { tags: JSON.stringify({ colour: 'red', n: '5' }) }]) {
    const { changes } = await asked(scene.a, { ...query, after: start, waitTimeoutMs: WAIT_MS });
    const ids = changes.map(idOf);
    demand(ids.includes(taskId), `the task does not come with ${JSON.stringify(query)}`);
    demand(!ids.includes(other.taskId), `another task comes with ${JSON.stringify(query)}`);
  }
};

export const streamed: Check = async (scene) => {
  const stream = scene.changesStream();
  const blocks = () => stream.frames.map(parsedBlock).filter(({ id }) => id !== undefined);
  await stream.until(() => blocks().length > 0, 'the first block with an id');
  const [first] = blocks();
  const next = first?.id ?? '';
  demandSame(
    'the first block',
    [first?.event, first?.data],
    ['heartbeat', JSON.stringify({ type: 'HEARTBEAT', next, live: true })],
  );
  const { taskId } = await scene.waiting();
  const changeIn = (follower: SseFollower) =>
    follower.frames
      .map(parsedBlock)
      .filter(({ event, data }) => event === 'message' && data !== undefined)
      .map(({ id, data = '' }) => ({ id, change: JSON.parse(data) as ChangesPage['changes'][number] }))
      .find(({ change }) => idOf(change) === taskId);
  await stream.until(() => changeIn(stream) !== undefined, 'the change');
  const { id, change } = changeIn(stream) ?? {};
  demandMembers('a change', change ?? {}, SCHEMAS.TaskChange);
  demandSame('the id of the block', id, change?.cursor);
  const again = scene.changesStream(next, `?after=${id}`);
  await again.until(() => changeIn(again) !== undefined, 'the change again: `Last-Event-ID` wins over `after`');
};

export const onWebSocket: Check = async (scene) => {
  const socket = await scene.socket({ protocols: [MULTIPLEX] });
  socket.send({ action: 'subscribe_changes' });
  socket.send({ action: 'subscribe_changes', ref: 'second' });
  const { code } = await socket.frame('the answer to the second', ({ ref }) => ref === 'second');
  demandSame('the code of a second feed', code, 'ALREADY_SUBSCRIBED');
  await socket.frame('CHANGES_CAUGHT_UP', ({ type }) => type === 'CHANGES_CAUGHT_UP');
  // The error may come first: it is about its own frame.
  const [first] = socket.frames.filter(({ type }) => type !== 'ERROR');
  demandSame('the first frame of the feed', first?.type, 'CHANGES_CONFIRMED');
  const { taskId, taskType } = await scene.waiting();
  const { raw } = await socket.frame('the change', (frame) => frame.type === 'CHANGE' && frame.raw.includes(taskId));
  demandShape('a change', JSON.parse(raw), SCHEMAS.TaskChange);
  socket.send({ action: 'unsubscribe_changes' });
  await socket.frame('CHANGES_ENDED', ({ type }) => type === 'CHANGES_ENDED');
  await scene.claimed(taskId, taskType);
  await scene.quiet();
  demandSame('the last frame', socket.frames.at(-1)?.type, 'CHANGES_ENDED');
};

export const foreignCursor: Check = async (scene) => {
  demandRefusal(await scene.a.changes({ after: 'no-feed-gave-this', waitTimeoutMs: 0 }), 'INVALID_CURSOR');
};
