import { LIST_LIMIT } from '../../../protocol/src/limits.js';
import type { Check } from '../clause.js';
import { demand, demandAnswer, demandRefusal, demandSame } from '../demands.js';
import { question } from '../driven-task.js';
import type { Query } from '../api-client.js';
import type { Scene } from '../scene.js';
import type { TaskList } from '../wire.js';

async function listed(scene: Scene, query: Query): Promise<TaskList['items']> {
  const answer = await scene.a.list(query);
  demandAnswer(answer, 200);
  return answer.body.items;
}

const idsOf = (items: TaskList['items']) => items.map(({ taskId }) => taskId);

/** Tasks of one type without an executor, in the order of their creation. */
async function several(scene: Scene, count: number): Promise<{ taskType: string; taskIds: readonly string[] }> {
  const { taskId, taskType } = await scene.waiting();
  const taskIds = [taskId];
  while (taskIds.length < count) taskIds.push(await another(scene, taskType));
  return { taskType, taskIds };
}

async function another(scene: Scene, taskType: string): Promise<string> {
  return (await scene.create({ clientRequestId: scene.newId(), taskType })).body.taskId;
}

export const newestFirst: Check = async (scene) => {
  const { taskType, taskIds } = await several(scene, 3);
  demandSame('the list', idsOf(await listed(scene, { taskType })), [...taskIds].reverse());
};

export const withoutInput: Check = async (scene) => {
  const { taskId, taskType } = await scene.waiting({ input: { a: 1 }, metadata: { b: 2 } });
  const [item] = await listed(scene, { taskType });
  const { input: _, ...summary } = (await scene.a.snapshot(taskId)).body;
  demandSame('an item, beside the snapshot without input', item, summary);
};

export const ownOnly: Check = async (scene) => {
  const { taskType } = await scene.waiting();
  await scene.create({ clientRequestId: scene.newId(), taskType }, { by: scene.b });
  const theirs = await scene.b.list({ taskType });
  demandSame(
    'how many tasks each principal is shown of two',
    [(await listed(scene, { taskType })).length, theirs.body.items.length],
    [1, 1],
  );
};

export const filters: Check = async (scene) => {
  const { taskType, taskIds } = await several(scene, 2);
  const [first = '', second = ''] = taskIds;
  const task = await scene.claimed(first, taskType);
  await task.suspend(question('q'));
  const demandList = async (query: Query, demanded: readonly string[]) =>
    demandSame(`the list with ${JSON.stringify(query)}`, idsOf(await listed(scene, { taskType, ...query })), demanded);
  await demandList({ status: 'RUNNING' }, [first]);
  await demandList({ status: 'ACCEPTED' }, [second]);
  await demandList({ status: 'FAILED' }, []);
  await demandList({ suspended: 'true' }, [first]);
  await demandList({ suspended: 'false' }, [second]);
  const { createdAt } = (await scene.a.snapshot(first)).body;
  const at = Date.parse(createdAt);
  await demandList({ createdAfter: new Date(at - 1).toISOString() }, [second, first]);
  await demandList({ createdBefore: new Date(at).toISOString() }, []);
  await demandList({ createdBefore: '2000-01-01T00:00:00+02:00' }, []);
  demandSame('the list of another type', await listed(scene, { taskType: scene.newType() }), []);
};

/** The pages are read while tasks are created. */
export const pages: Check = async (scene) => {
  const { taskType, taskIds } = await several(scene, 5);
  const seen: string[] = [];
  let cursor: string | null = null;
  do {
    const answer = await scene.a.list({ taskType, limit: 2, ...(cursor !== null && { cursor }) });
    demandAnswer(answer, 200);
    demand(answer.body.items.length <= 2, `a page of at most 2: ${answer.body.items.length}`);
    seen.push(...idsOf(answer.body.items));
    demand(seen.length <= 10, `the pages do not end: ${seen.join(' ')}`);
    cursor = answer.body.nextCursor;
    await another(scene, taskType);
  } while (cursor !== null);
  const ofBefore = seen.filter((taskId) => taskIds.includes(taskId));
  demandSame('the tasks on all pages', ofBefore, [...taskIds].reverse());
};

export const parametersOfList: Check = async (scene) => {
  const wrong: readonly Query[] = [
    { limit: LIST_LIMIT.minimum - 1 },
    { limit: LIST_LIMIT.maximum + 1 },
    { limit: 'many' },
    { status: 'DONE' },
    { suspended: 'yes' },
    { createdAfter: '2026-01-01' },
    { createdBefore: '2026-01-01T00:00:00' },
  ];
  for (const query of wrong) {
    const answer = await scene.a.list(query);
    demandRefusal(answer, 'INVALID_REQUEST');
  }
  demandAnswer(await scene.a.list({ limit: LIST_LIMIT.maximum }), 200);
};

export const foreignCursor: Check = async (scene) => {
  demandRefusal(await scene.a.list({ cursor: 'no-list-gave-this' }), 'INVALID_CURSOR');
};
