import { queryOptions, useQuery } from '@tanstack/react-query';
import type { Me } from '../../../protocol/src/operators.js';
import { ask } from './ask.js';
import { painted } from './painted.js';

const whoIsAsking = queryOptions({
  queryKey: ['me'],
  queryFn: async ({ signal }) => {
    await painted;
    return ask<Me>('/me', { signal });
  },
  staleTime: Infinity,
});

/** Undefined until the service has answered. */
export function useMe(): Me | undefined {
  return useQuery(whoIsAsking).data;
}

/** What a button needs. The service judges each request again. */
export function useMay(): Me['may'] {
  return useMe()?.may ?? NOTHING;
}

const NOTHING: Me['may'] = { read: false, write: false, readAll: false, operate: false, prioritise: false };
