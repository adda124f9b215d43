import { infiniteQueryOptions } from '@tanstack/react-query';
import type { QUESTION_ASKED } from '../../../protocol/src/operators.js';
import type { TypeOf } from '../../../protocol/src/json-schema.js';
import { ask, type Members, queryOf } from './ask.js';

export type AskedOfAll = TypeOf<typeof QUESTION_ASKED>;

interface Page {
  readonly items: readonly AskedOfAll[];
  readonly nextCursor: string | null;
}

export const questionList = (scope: Members) =>
  infiniteQueryOptions({
    queryKey: ['questions', scope],
    queryFn: ({ pageParam, signal }) =>
      ask<Page>(`/questions${queryOf({ limit: 50, ...scope, cursor: pageParam })}`, { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: ({ nextCursor }) => nextCursor ?? undefined,
  });
