import type { TaskStatus } from '#protocol/snapshots.js';
import type { ChangedTask } from '../../tasks/store/read-changes.js';

export interface ChangeFilter {
  readonly status?: TaskStatus;
  readonly suspended?: boolean;
  readonly taskType?: string;
  /** Members of the metadata, as text; a task has all of them. */
  readonly tags?: Readonly<Record<string, string>>;
}

/**
 * What a follower with this filter gets of a change. A type and tags never change, so a task without them never was in the feed. A status
 * may have been another one, so a task that has left comes as `left`, also when the follower never had it.
 */
export function seenThrough(filter: ChangeFilter, change: ChangedTask): 'task' | 'removed' | 'left' | undefined {
  if (filter.taskType !== undefined && change.taskType !== filter.taskType) return undefined;
  if (change.view === null) return 'removed';
  const has = (key: string, value: string) => change.tags.some((tag) => tag.key === key && tag.value === value);
  if (!Object.entries(filter.tags ?? {}).every(([key, value]) => has(key, value))) return undefined;
  const isIn =
    (filter.status === undefined || change.view.status === filter.status) &&
    (filter.suspended === undefined || change.isSuspended === filter.suspended);
  return isIn ? 'task' : 'left';
}
