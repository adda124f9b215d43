import type { ChangedTask } from '@taskbridge/client';
import { useEffect, useRef, useState } from 'react';
import { ask, type Members, queryOf, Refusal } from './ask.js';
import { painted } from './painted.js';

export interface Change {
  readonly task?: ChangedTask;
  /** Instead of `task`. */
  readonly taskId?: string;
  readonly removed?: true;
  /** It does not match the filter any more. */
  readonly left?: true;
}

interface Page {
  readonly changes: readonly Change[];
  readonly next: string;
}

const WAIT_MS = 25_000;
const PAUSE_MS = 1_000;

/**
 * Calls back with what changes, as long as the page is in front: browsers have few connections to a host. `onGap` is called
 * when changes may have been missed. Returns why it has stopped, which is for good.
 */
export function useFeed(
  filter: Members,
  onChanges: (changes: readonly Change[]) => void,
  onGap: () => void,
): Refusal | undefined {
  const latest = useRef({ onChanges, onGap });
  latest.current = { onChanges, onGap };
  const [stopped, setStopped] = useState<Refusal>();
  const content = queryOf(filter);
  useEffect(() => {
    const leaving = new AbortController();
    setStopped(undefined);
    void follow(content, leaving.signal, latest).then(setStopped);
    return () => leaving.abort();
  }, [content]);
  return stopped;
}

type Listeners = { readonly current: { onChanges(changes: readonly Change[]): void; onGap(): void } };

async function follow(filter: string, signal: AbortSignal, listeners: Listeners): Promise<Refusal | undefined> {
  await painted;
  for (let after = ''; !signal.aborted; ) {
    await untilShown(signal);
    if (signal.aborted) return undefined;
    const members = new URLSearchParams(filter);
    // The first answer has the cursor of now, at once.
    members.set('waitTimeoutMs', String(after ? WAIT_MS : 0));
    if (after) members.set('after', after);
    try {
      const { changes, next } = await ask<Page>(`/tasks/changes?${members}`, { signal }, WAIT_MS);
      if (signal.aborted) return undefined;
      if (!after) listeners.current.onGap();
      if (after && changes.length > 0) listeners.current.onChanges(changes);
      after = next;
    } catch (error) {
      if (signal.aborted) return undefined;
      // A cursor of another day or another database: begin anew.
      if (error instanceof Refusal && error.code === 'CURSOR_EXPIRED') after = '';
      else if (error instanceof Refusal && !error.mayPass) return error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
  return undefined;
}

function untilShown(signal: AbortSignal): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener('visibilitychange', look);
      resolve();
    };
    document.addEventListener('visibilitychange', look);
    signal.addEventListener('abort', look);
  });
}
