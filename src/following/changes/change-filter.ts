import type { TaskStatus } from '#protocol/snapshots.js';
import type { ChangedTask } from '../../tasks/store/read-changes.js';

export interface ChangeFilter {
  readonly status?: TaskStatus;
  readonly suspended?: boolean;
  readonly taskType?: string;
  /** `key:value`; a task has all of them. A key with a colon cannot be asked for. */
  readonly tag?: readonly string[];
}

/**
 * What a follower with this filter gets of a change. A type and tags never change, so a task without them never was in the feed. A status
 * may have been another one, so a task that has left comes as `left`, also when the follower never had it.
 */
export function seenThrough(filter: ChangeFilter, change: ChangedTask): 'task' | 'removed' | 'left' | undefined {
  if (filter.taskType !== undefined && change.taskType !== filter.taskType) return undefined;
  if (change.view === null) return 'removed';
  if (!(filter.tag ?? []).every((tag) => hasTag(change.tags, tag))) return undefined;
  const isIn =
    (filter.status === undefined || change.view.status === filter.status) &&
    (filter.suspended === undefined || change.isSuspended === filter.suspended);
  return isIn ? 'task' : 'left';
}

function hasTag(tags: ChangedTask['tags'], tag: string): boolean {
  const colon = tag.indexOf(':');
  return tags.some(({ key, value }) => key === tag.slice(0, colon) && value === tag.slice(colon + 1));
}
