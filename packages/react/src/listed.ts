import type { Change, ListFilter } from '@taskbridge/client';

/** A task of a list: what the list and the feed have in common. */
export type ListedTask = NonNullable<Change['task']>;

/** The list after a change, newest first. What the filter does not let through leaves it. */
export function withChange(
  tasks: readonly ListedTask[],
  { taskId, task }: Change,
  filter: ListFilter,
): readonly ListedTask[] {
  const others = tasks.filter((other) => other.taskId !== taskId);
  if (!task || !matches(task, filter)) return others;
  // Ids of tasks begin with their time.
  const at = others.findIndex((other) => other.taskId < taskId);
  return at < 0 ? [...others, task] : [...others.slice(0, at), task, ...others.slice(at)];
}

function matches(task: ListedTask, filter: ListFilter): boolean {
  const { status, taskType, clientRequestId, suspended, createdAfter, createdBefore } = filter;
  const createdAt = Date.parse(task.createdAt);
  return (
    (status ?? task.status) === task.status &&
    (taskType ?? task.taskType) === task.taskType &&
    (clientRequestId ?? task.clientRequestId) === task.clientRequestId &&
    (suspended ?? task.openSuspension !== undefined) === (task.openSuspension !== undefined) &&
    (createdAfter === undefined || createdAt > Date.parse(createdAfter)) &&
    (createdBefore === undefined || createdAt < Date.parse(createdBefore))
  );
}
