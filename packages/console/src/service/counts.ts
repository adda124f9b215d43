import { queryOptions } from '@tanstack/react-query';
import type { TaskCounts } from '../../../protocol/src/operators.js';
import { ask, type Members, queryOf } from './ask.js';

const REFRESH_MS = 3_000;

/** How many tasks there are, by status. */
export const taskCounts = (scope: Members) =>
  queryOptions({
    queryKey: ['counts', scope],
    queryFn: ({ signal }) => ask<TaskCounts>(`/tasks/counts${queryOf(scope)}`, { signal }),
    refetchInterval: REFRESH_MS,
  });
