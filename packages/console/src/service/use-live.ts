import type { Connection, Live } from '@taskbridge/client';
import { useCallback, useRef, useSyncExternalStore } from 'react';
import { client } from './client.js';

/** A screen that is painted more often is no better to read, and keeps the browser busy. */
const CALM_MS = 100;

/** The value, at most ten times a second. */
export function useLive<V>(live: Live<V>): V {
  const shown = useRef<{ readonly of: Live<V>; value: V }>(undefined);
  if (shown.current?.of !== live) shown.current = { of: live, value: live.get() };
  const subscribe = useCallback(
    (changed: () => void) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const take = () => {
        timer = undefined;
        shown.current = { of: live, value: live.get() };
        changed();
      };
      const leave = live.subscribe(() => (timer ??= setTimeout(take, CALM_MS)));
      return () => {
        clearTimeout(timer);
        leave();
      };
    },
    [live],
  );
  return useSyncExternalStore(subscribe, () => (shown.current as { readonly value: V }).value);
}

export const useConnection = (): Connection => useLive(client.connection);
