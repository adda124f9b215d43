import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import type { ApiClient, Query } from '../api-client.js';
import type { Check } from '../clause.js';
import { demand, demandAnswer, demandMembers, demandRefusal, demandSame } from '../demands.js';
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

export const foreignCursor: Check = async (scene) => {
  demandRefusal(await scene.a.changes({ after: 'no-feed-gave-this', waitTimeoutMs: 0 }), 'INVALID_CURSOR');
};
