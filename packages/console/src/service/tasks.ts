import type { TaskStatus, TaskSummary } from '@taskbridge/client';
import type { TaskSnapshot } from '../../../protocol/src/snapshots.js';
import { type InfiniteData, infiniteQueryOptions, queryOptions } from '@tanstack/react-query';
import { ask, type Members, queryOf } from './ask.js';
import type { Change } from './feed.js';
import { queries } from './queries.js';

export const STATUSES: readonly TaskStatus[] = ['ACCEPTED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED'];

/** A list of tasks, as the address of the page has it. */
export interface TaskFilter {
  /** Tasks of all owners. Needs `tasks:admin`. */
  readonly all?: true;
  readonly owner?: string;
  readonly tenant?: string;
  readonly status?: TaskStatus;
  readonly taskType?: string;
  readonly suspended?: true;
  readonly failureCode?: string;
  readonly clientRequestId?: string;
  readonly createdAfter?: string;
  readonly createdBefore?: string;
  /** `name:value`, one of the metadata. */
  readonly tag?: string;
}

/** A task as lists have it; those over owners also say whose it is. */
export type ListedTask = Omit<TaskSummary, 'attachments' | 'result' | 'metadata'> & {
  readonly metadata?: TaskSummary['metadata'] | undefined;
};

export interface TaskPage {
  readonly items: readonly ListedTask[];
  readonly nextCursor: string | null;
}

const PAGE = 50;

/** Whether the list may have tasks of others, which needs `tasks:admin`. */
export function isOfOthers({ all, owner, tenant }: TaskFilter): boolean {
  return all === true || owner !== undefined || tenant !== undefined;
}

function membersOf({ tag, all, ...filter }: TaskFilter): Members {
  const [name, value] = tag?.split(/:(.*)/s) ?? [];
  // One owner is not all.
  const areAll = all && !isOfOthers(filter);
  return {
    ...filter,
    ...(areAll && { all }),
    ...(name && value && { tags: JSON.stringify({ [name]: value }) }),
  };
}

/** What a feed can filter by. The rest is judged here. */
export function feedMembers(filter: TaskFilter): Members {
  const { failureCode: _, clientRequestId: __, createdAfter: ___, createdBefore: ____, ...members } = membersOf(filter);
  return members;
}

export const taskList = (filter: TaskFilter) =>
  infiniteQueryOptions({
    queryKey: ['tasks', filter],
    queryFn: ({ pageParam, signal }) =>
      ask<TaskPage>(`/tasks${queryOf({ limit: PAGE, ...membersOf(filter), cursor: pageParam })}`, { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: ({ nextCursor }) => nextCursor ?? undefined,
  });

export const taskSnapshot = (taskId: string) =>
  queryOptions({
    queryKey: ['task', taskId],
    queryFn: ({ signal }) => ask<TaskSnapshot>(`/tasks/${encodeURIComponent(taskId)}`, { signal }),
  });

/** Takes changes into a list that is shown. */
export function applyChanges(filter: TaskFilter, changes: readonly Change[]): void {
  queries.setQueryData(taskList(filter).queryKey, (list: InfiniteData<TaskPage> | undefined) => {
    if (!list) return list;
    let [first, ...older] = list.pages;
    if (!first) return list;
    for (const { task, taskId = task?.taskId } of changes) {
      const isListed = (one: ListedTask) => one.taskId === taskId;
      const fits = task && matches(task, filter);
      const replaced = (page: TaskPage): TaskPage =>
        page.items.some(isListed)
          ? {
              ...page,
              items: page.items.flatMap((one) => (isListed(one) ? (fits ? [{ ...one, ...task }] : []) : [one])),
            }
          : page;
      const isKnown = list.pages.some((page) => page.items.some(isListed)) || first.items.some(isListed);
      first = replaced(first);
      older = older.map(replaced);
      // Ids begin with their time. What is older than the page belongs to a later one.
      if (fits && !isKnown && (first.items.length === 0 || task.taskId > (first.items.at(-1)?.taskId ?? '')))
        first = { ...first, items: [...first.items, task].sort((a, b) => (a.taskId < b.taskId ? 1 : -1)) };
    }
    return { ...list, pages: [first, ...older] };
  });
}

function matches(task: ListedTask, filter: TaskFilter): boolean {
  const { status, taskType, clientRequestId, suspended, failureCode, createdAfter, createdBefore } = filter;
  const createdAt = Date.parse(task.createdAt);
  return (
    (status ?? task.status) === task.status &&
    (taskType ?? task.taskType) === task.taskType &&
    (clientRequestId ?? task.clientRequestId) === task.clientRequestId &&
    (!suspended || task.openSuspension !== undefined) &&
    (failureCode ?? task.failure?.code) === task.failure?.code &&
    (createdAfter === undefined || createdAt > Date.parse(createdAfter)) &&
    (createdBefore === undefined || createdAt < Date.parse(createdBefore))
  );
}
