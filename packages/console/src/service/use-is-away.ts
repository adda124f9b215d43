import { useSyncExternalStore } from 'react';
import { queries } from './queries.js';
import { useConnection } from './use-live.js';

/** Whether what is shown stands still, until the service answers again. */
export function useIsAway(): boolean {
  const { status } = useConnection();
  const isAskedAgain = useSyncExternalStore(subscribe, areSomeAskedAgain);
  return status === 'waiting' || isAskedAgain;
}

const cache = queries.getQueryCache();
const subscribe = (changed: () => void) => cache.subscribe(changed);

function areSomeAskedAgain(): boolean {
  return cache
    .getAll()
    .some((query) => query.isActive() && query.state.fetchStatus !== 'idle' && query.state.fetchFailureCount > 0);
}
