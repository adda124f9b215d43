import { patternOf, TASK_UUID } from '#protocol/ids.js';

const A_TASK_ID = patternOf(TASK_UUID);

/** Anything else names no task, and is answered exactly like an id that does not exist. */
export function isTaskId(text: string): boolean {
  return A_TASK_ID.test(text);
}
