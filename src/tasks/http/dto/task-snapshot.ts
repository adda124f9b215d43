import type { TaskSnapshot, TaskSummary } from '#protocol/snapshots.js';
import { JsonText, type WithText, writeObject } from '../../../json/json-text.js';
import type { TaskView } from '../../store/read-task-view.js';

const EMPTY = new JsonText('{}');

/** The JSON of a `TaskSummary`. Absent optional members are absent, never null. */
export function taskSummary(view: TaskView): string {
  return writeObject(summarised(view));
}

/** The JSON of a `TaskSnapshot`. */
export function taskSnapshot(view: TaskView): string {
  return writeObject({ ...summarised(view), input: view.input ?? EMPTY } satisfies WithText<TaskSnapshot>);
}

function summarised(view: TaskView): WithText<TaskSummary> {
  return {
    taskId: view.identity.taskId,
    clientRequestId: view.identity.clientRequestId,
    taskType: view.identity.taskType,
    status: view.status,
    metadata: view.metadata ?? EMPTY,
    attachments: view.attachments,
    attempt: view.attempt,
    attemptsLeft: view.attemptsLeft,
    cancellationRequested: view.cancellationRequested,
    ...(view.asideCode !== null && { aside: { code: view.asideCode } }),
    ...(view.waitingFor !== null && { waitingFor: view.waitingFor }),
    ...(view.progress !== null && { progress: view.progress }),
    ...(view.openSuspension && { openSuspension: view.openSuspension }),
    ...(view.result && { result: view.result }),
    ...(view.failure && { failure: view.failure }),
    headEventId: String(view.headEventId),
    createdAt: view.createdAt.toISOString(),
    updatedAt: view.updatedAt.toISOString(),
    ...(view.startedAt && { startedAt: view.startedAt.toISOString() }),
    ...(view.finishedAt && { finishedAt: view.finishedAt.toISOString() }),
  };
}
