import type { Task } from './task.js';
import type { NewEvent } from './task-event.js';

type Evolved = Partial<Pick<Task, 'status' | 'progress' | 'run'>>;

/** The fold: what one event makes of a task. Knows no rule about which event may come when; that is `decide`. */
export function evolve(task: Task, event: Pick<NewEvent, 'type' | 'payload'>): Task {
  return { ...task, headEventId: task.headEventId + 1, ...changed(event) };
}

function changed(event: Pick<NewEvent, 'type' | 'payload'>): Evolved {
  switch (event.type) {
    case 'TASK_STARTED':
      return { status: 'RUNNING' };
    case 'TASK_PROGRESS':
      return { progress: event.payload['progress'] as number };
    case 'TASK_MESSAGE':
    case 'TASK_OUTPUT':
      return {};
    case 'TASK_SUSPENDED':
      return { run: { state: 'suspended', suspendId: event.payload['suspendId'] as string, expired: false } };
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
