import { queryOptions } from '@tanstack/react-query';
import type { TaskTypeEntry } from '../../../protocol/src/operators.js';
import { ask } from './ask.js';

interface Page {
  readonly items: readonly TaskTypeEntry[];
  readonly nextCursor: string | null;
}

const REFRESH_MS = 3_000;

/** The first page of the types. Needs `tasks:admin`. */
export const typeList = queryOptions({
  queryKey: ['types'],
  queryFn: ({ signal }) => ask<Page>('/task-types?limit=200', { signal }),
  refetchInterval: REFRESH_MS,
});
