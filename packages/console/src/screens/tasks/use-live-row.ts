import { useEffect, useRef, useState } from 'react';
import { isOver } from '../../parts/status.js';
import { client } from '../../service/client.js';
import type { ListedTask } from '../../service/tasks.js';

interface Shown {
  readonly progress: number | undefined;
  readonly message: string | undefined;
}

/** How often a row is painted anew. */
const FRAME_MS = 200;

/** The progress of a row as it comes, from what the list knew on. A row that is not on the screen follows nothing. */
export function useLiveRow(task: ListedTask): Shown & { readonly row: React.RefObject<HTMLTableRowElement | null> } {
  const row = useRef<HTMLTableRowElement>(null);
  const [isVisible, setVisible] = useState(false);
  const [shown, setShown] = useState<Shown>({ progress: undefined, message: undefined });
  const after = useRef(task.headEventId);
  after.current = task.headEventId;
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => setVisible(entry?.isIntersecting ?? false));
    if (row.current) observer.observe(row.current);
    return () => observer.disconnect();
  }, []);
  const isFollowed = isVisible && task.status === 'RUNNING';
  useEffect(() => {
    if (!isFollowed) return;
    const leaving = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let next: Shown | undefined;
    const paint = () => {
      timer = undefined;
      if (next) setShown(next);
    };
    const follow = async () => {
      for await (const { type, payload } of client
        .task(task.taskId)
        .events({ after: after.current, signal: leaving.signal })) {
        if (type !== 'TASK_PROGRESS' && type !== 'TASK_MESSAGE') continue;
        next = {
          progress: type === 'TASK_PROGRESS' ? payload.progress : next?.progress,
          message: payload.message ?? next?.message,
        };
        timer ??= setTimeout(paint, FRAME_MS);
      }
    };
    // A task that may not be followed any more keeps what is shown: the list says the rest.
    follow().catch(() => {});
    return () => {
      leaving.abort();
      clearTimeout(timer);
    };
  }, [isFollowed, task.taskId]);
  return { row, progress: shown.progress ?? task.progress, message: isOver(task) ? undefined : shown.message };
}
