const TASK_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Anything else names no task, and is answered exactly like an id that does not exist. */
export function isTaskId(text: string): boolean {
  return TASK_ID.test(text);
}
