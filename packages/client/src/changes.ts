import type { TaskSummary } from '../../protocol/src/snapshots.js';
import type { TaskBridgeError } from './errors.js';
import type { Change, Feed } from './feed.js';
import { Bell, linked } from './waiting.js';

/** The changes from now on. Those that wait for a slow reader are one for each task: the newest. */
export async function* changes(
  feed: Feed,
  list: () => AsyncIterable<TaskSummary>,
  closed: AbortSignal,
  signal?: AbortSignal,
): AsyncIterableIterator<Change> {
  const waiting = new Map<string, Change>();
  const { signal: ended } = linked(signal, closed);
  let isFirst = true;
  let mustList = false;
  let failure: TaskBridgeError | undefined;
  const bell = new Bell();
  const leave = feed.listen((change, error) => {
    failure = error;
    if (change) {
      // The newest is the last.
      waiting.delete(change.taskId);
      waiting.set(change.taskId, change);
    } else if (!error) {
      // Later ones mean that changes were missed.
      mustList = !isFirst;
      isFirst = false;
    }
    bell.ring();
  });
  try {
    for (;;) {
      ended.throwIfAborted();
      if (failure) throw failure;
      const [first] = waiting.values();
      if (first) {
        waiting.delete(first.taskId);
        yield first;
      } else if (mustList) {
        mustList = false;
        for await (const task of list()) yield { taskId: task.taskId, task };
      } else await bell.next(ended);
    }
  } finally {
    leave();
  }
}
