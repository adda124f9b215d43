import { queryOptions } from '@tanstack/react-query';
import type { TaskCounts } from '../../../protocol/src/operators.js';
import { ask, type Members, queryOf } from './ask.js';
import { painted } from './painted.js';

const REFRESH_MS = 3_000;

/** How many tasks there are, by status. */
export const taskCounts = (scope: Members) =>
  queryOptions({
    queryKey: ['counts', scope],
    queryFn: async ({ signal }) => {
      await painted;
      return ask<TaskCounts>(`/tasks/counts${queryOf(scope)}`, { signal });
    },
    refetchInterval: REFRESH_MS,
  });
