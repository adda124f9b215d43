import type { EventType } from '#protocol/events.js';
import type { Task } from './task.js';
import type { NewEvent } from './task-event.js';

/** What is stored, or about to be. */
type Known = { [T in EventType]: Pick<NewEvent<T>, 'type' | 'payload'> }[EventType];
type Evolved = Partial<Pick<Task, 'status' | 'progress' | 'run' | 'hasSteps' | 'attemptBase'>>;

/** The fold: what one event makes of a task. Knows no rule about which event may come when; that is `decide`. */
export function evolve(task: Task, event: Known): Task {
  const headEventId = task.headEventId + 1;
  return { ...task, headEventId, ...changed(event, headEventId) };
}

function changed(event: Known, eventId: number): Evolved {
  switch (event.type) {
    case 'TASK_STARTED':
      return { status: 'RUNNING' };
    case 'TASK_PROGRESS':
      return { progress: event.payload.progress };
    case 'TASK_MESSAGE':
    case 'TASK_OUTPUT':
    case 'TASK_RESUMED':
      return {};
    case 'TASK_STEP':
      return event.payload.state === 'completed' ? { hasSteps: true, attemptBase: eventId } : {};
    case 'TASK_SUSPENDED':
      return { run: { state: 'suspended', suspendId: event.payload.suspendId, expired: false } };
    case 'TASK_ACTION_ACCEPTED':
      return { run: { state: 'queued', resumes: true } };
    case 'TASK_RETRYING':
      return { run: { state: 'queued', resumes: false } };
    case 'TASK_COMPLETED':
      return { status: 'COMPLETED', run: { state: 'over' } };
    case 'TASK_FAILED':
      return { status: 'FAILED', run: { state: 'over' } };
    case 'TASK_CANCELLED':
      return { status: 'CANCELLED', run: { state: 'over' } };
  }
}
