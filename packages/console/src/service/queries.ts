import { QueryClient } from '@tanstack/react-query';
import { Refusal } from './ask.js';

/** What may pass is asked again until it has passed: a page outlives a restart of the service. */
export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      networkMode: 'always',
      retry: (_, error) => error instanceof Refusal && error.mayPass,
      retryDelay: (failures) => Math.min(250 * 2 ** failures, 3_000),
      staleTime: 2_000,
    },
    mutations: { networkMode: 'always' },
  },
});
