/** Event types of the wire protocol. A client skips a type that it does not know. */
export const EVENT_TYPES = [
  'TASK_STARTED',
  'TASK_PROGRESS',
  'TASK_MESSAGE',
  'TASK_OUTPUT',
  'TASK_SUSPENDED',
  'TASK_ACTION_ACCEPTED',
  'TASK_RETRYING',
  'TASK_COMPLETED',
  'TASK_FAILED',
  'TASK_CANCELLED',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

const TERMINAL: ReadonlySet<string> = new Set<EventType>(['TASK_COMPLETED', 'TASK_FAILED', 'TASK_CANCELLED']);

/** Exactly one such event ends a task, and it is the last. */
export function endsTask(type: string): boolean {
  return TERMINAL.has(type);
}
