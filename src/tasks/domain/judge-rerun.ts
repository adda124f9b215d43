import type { TaskStatus } from '#protocol/snapshots.js';
import { isOver } from './task.js';
import { TaskAside, TaskNotTerminal } from './tasks.errors.js';

/**
 * Only what is over is run again: until then the task itself may go on.
 * @throws TaskAside, TaskNotTerminal
 */
export function judgeRerun({ status, isAside }: { readonly status: TaskStatus; readonly isAside: boolean }): void {
  if (isAside) throw new TaskAside();
  if (!isOver(status)) throw new TaskNotTerminal();
}
