import { StoredEvent } from '../tasks/stored-event.js';

const TASK_ID_LENGTH = 36;

/**
 * The field and the value of a stream entry: `<taskId> <eventId> <type> <createdAt>`, and the payload's text. The event's own id
 * decides its order; the id that Redis gives the entry says only how far a reader is.
 */
export function encodeEvent(event: StoredEvent): [head: string, payload: string] {
  return [`${event.taskId} ${event.eventId} ${event.type} ${event.createdAt}`, event.payloadJson];
}

/** All that is decoded of an entry whose task nobody follows here. */
export function taskIdOf(head: Buffer): string {
  return head.toString('latin1', 0, TASK_ID_LENGTH);
}

/** Undefined for what `encodeEvent` has not made. */
export function decodeEvent(head: Buffer, payload: Buffer): StoredEvent | undefined {
  const [taskId = '', id = '', type = '', createdAt = ''] = head.toString('latin1').split(' ');
  const eventId = Number(id);
  if (!Number.isSafeInteger(eventId) || eventId < 1 || createdAt === '') return undefined;
  return new StoredEvent(taskId, eventId, type, createdAt, payload.toString('utf8'));
}
