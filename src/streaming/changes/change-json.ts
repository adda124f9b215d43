import type { Change } from '../../following/changes/change-subscription.js';
import { JsonText, writeObject } from '../../json/json-text.js';
import { changedTask } from '../../tasks/http/dto/task-snapshot.js';
import type { TaskView } from '../../tasks/store/read-task-view.js';

/** The same view goes to all followers of a scope. */
const written = new WeakMap<TaskView, JsonText>();

/** The JSON of a `TaskChange`, the same on every transport. */
export function changeJson(change: Change): string {
  const { cursor, taskId } = change;
  if (change.kind !== 'task') return writeObject({ cursor, taskId, [change.kind]: true });
  const task = written.get(change.view) ?? new JsonText(changedTask(change.view));
  written.set(change.view, task);
  return writeObject({ cursor, task });
}
