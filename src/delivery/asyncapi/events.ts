import type { EventType } from '#protocol/events.js';
import { ANY_OBJECT, EVENT_ID, FROM_ONE, object, type Schema, TASK_ID, text, TIMESTAMP } from './schema.js';

/** What each type of event carries. Absent optional members are absent, never null. */
const PAYLOADS: Readonly<Record<EventType, Schema>> = {
  TASK_STARTED: object({ 'message?': text() }),
  TASK_PROGRESS: object({
    progress: { type: 'number', minimum: 0, maximum: 100 },
    'stage?': text(),
    'message?': text(),
  }),
  TASK_MESSAGE: object({ message: text(), 'level?': { type: 'string', enum: ['info', 'warning', 'debug'] } }),
  TASK_OUTPUT: object({
    channel: text(),
    op: { type: 'string', enum: ['append', 'replace'], description: 'What data does to the text of its channel.' },
    data: text(),
    attempt: FROM_ONE,
  }),
  TASK_SUSPENDED: object({
    suspendId: text(),
    kind: { type: 'string', enum: ['USER_ACTION_REQUIRED', 'EXTERNAL_CONFIRMATION_PENDING', 'SYSTEM_PAUSED'] },
    reasonCode: text(),
    allowedActions: { type: 'array', items: text(), minItems: 1 },
    schemaVersion: FROM_ONE,
    'expiresAt?': TIMESTAMP,
    'uiHints?': ANY_OBJECT,
    'interaction?': ANY_OBJECT,
  }),
  TASK_ACTION_ACCEPTED: object({
    suspendId: text(),
    clientActionId: text(),
    actionType: text(),
    acceptedAt: TIMESTAMP,
    'message?': text(),
  }),
  TASK_RETRYING: object({
    attempt: { ...FROM_ONE, description: 'The one about to begin.' },
    reason: text(),
    supersedesAfterEventId: { ...EVENT_ID, description: 'Output and progress after this event are void.' },
  }),
  TASK_COMPLETED: object({ result: { description: 'Any JSON.' } }, { additionalProperties: true }),
  TASK_FAILED: object({ code: text(), message: text(), retryable: { type: 'boolean' } }),
  TASK_CANCELLED: object({ reason: text(), 'message?': text() }),
};

/** By event type, the envelope with its five members. */
export const EVENTS: Readonly<Record<string, Schema>> = Object.fromEntries(
  Object.entries(PAYLOADS).map(([type, payload]) => [
    type,
    object({
      type: { type: 'string', const: type },
      taskId: TASK_ID,
      eventId: EVENT_ID,
      createdAt: { ...TIMESTAMP, description: 'The clock of the database, UTC, in milliseconds.' },
      payload,
    }),
  ]),
);
