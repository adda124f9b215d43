import type { Live } from '@taskbridge/client';
import { useCallback, useRef, useSyncExternalStore } from 'react';

interface Selected<V, S> {
  readonly value: V;
  readonly select: (value: V) => S;
  readonly selected: S;
}

/** What `select` makes of the value. Renders again only where that has changed, in itself or in one of its members. */
export function useLive<V, S>(live: Live<V>, select: (value: V) => S): S {
  const last = useRef<Selected<V, S> | undefined>(undefined);
  const read = (): S => {
    const value = live.get();
    const before = last.current;
    if (before?.value === value && before.select === select) return before.selected;
    const now = select(value);
    const selected = before && areAlike(before.selected, now) ? before.selected : now;
    last.current = { value, select, selected };
    return selected;
  };
  // On a server nothing is followed: it renders what is known, and so does the first render in the browser.
  return useSyncExternalStore(
    useCallback((changed: () => void) => live.subscribe(changed), [live]),
    read,
    read,
  );
}

function areAlike(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => Object.is((one as Record<string, unknown>)[name], (other as Record<string, unknown>)[name]))
  );
}
