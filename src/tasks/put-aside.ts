import type { Queryable } from '../database/queryable.js';
import { resumedStory, runInStory } from '../observability/correlation.js';
import type { Log } from '../observability/log.js';
import { type AsideCode, setAside, tasksWithEventsAboveHead } from './store/set-aside.js';
import type { TaskRecord } from './store/task-row.js';

/** Why one task could not be written at all. */
export interface Fault<Record extends TaskRecord> {
  readonly record: Record;
  readonly error: unknown;
}

export interface Aside extends Fault<TaskRecord> {
  readonly taskId: string;
  readonly code: AsideCode;
}

/** Marks the tasks of faults that count. They then wait for an operator to repair them. */
export async function putAside(
  tx: Queryable,
  faults: readonly Fault<TaskRecord>[],
  counts: (code: AsideCode) => boolean,
): Promise<readonly Aside[]> {
  if (faults.length === 0) return [];
  const above = await tasksWithEventsAboveHead(
    tx,
    faults.map(({ record }) => record.identity.taskId),
  );
  const aside = faults.flatMap(({ record, error }) => {
    const code = asideCodeOf(record, above);
    return counts(code) ? [{ taskId: record.identity.taskId, record, code, error }] : [];
  });
  if (aside.length > 0) await setAside(tx, aside);
  return aside;
}

/** Logs it after the commit, once for each task. */
export function logAside(log: Log, aside: readonly Aside[]): void {
  for (const { record, code, error } of aside) {
    const { taskId, taskType, correlationId } = record.identity;
    const { traceparent, task } = record;
    const story = resumedStory({ correlationId, traceparent, causationId: String(task.headEventId) });
    runInStory(story, () => log.error({ taskId, taskType, code, err: error }, 'task.set_aside'));
  }
}

function asideCodeOf({ identity, flaw }: TaskRecord, aboveHead: ReadonlySet<string>): AsideCode {
  if (aboveHead.has(identity.taskId)) return 'EVENT_ABOVE_HEAD';
  return flaw === null ? 'NOT_WRITABLE' : 'STATE_INVALID';
}
