import { createHash } from 'node:crypto';

/**
 * A delivered or stored envelope, with a digest of its bytes. `step`: the key of the step that it finishes. `since`: the event after which
 * it voids progress and output. `output`: what it puts out. Undefined when the text is no envelope.
 */
export function readEnvelope(raw) {
  if (typeof raw !== 'string') return undefined;
  try {
    const { type, taskId, eventId, payload } = JSON.parse(raw);
    const id = /^[1-9][0-9]*$/.test(eventId) ? Number(eventId) : Number.NaN;
    if (typeof type !== 'string' || typeof taskId !== 'string' || !Number.isSafeInteger(id)) return undefined;
    const step = type === 'TASK_STEP' && payload?.state === 'completed' ? payload.key : undefined;
    const since = payload?.supersedesAfterEventId;
    const output = type === 'TASK_OUTPUT' ? payload : undefined;
    return { type, taskId, id, digest: createHash('sha1').update(raw).digest('base64'), step, since, output };
  } catch {
    return undefined;
  }
}

/** The status of a task whose last event is of this type; undefined for events that are no end. */
export const STATUS_AFTER = new Map([
  ['TASK_COMPLETED', 'COMPLETED'],
  ['TASK_FAILED', 'FAILED'],
  ['TASK_CANCELLED', 'CANCELLED'],
]);
