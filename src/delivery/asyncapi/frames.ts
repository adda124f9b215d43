import { constant, HEAD, object, type Schema, TASK_ID, text, TIMESTAMP } from './schema.js';

interface Frame {
  readonly summary: string;
  readonly payload: Schema;
}

const CURSOR: Schema = {
  type: ['string', 'null'],
  maxLength: 255,
  description: 'The last event id that the client has; absent, null, empty and 0 mean from the start.',
};
const REF: Schema = { type: 'string', maxLength: 255, description: 'What an error about this frame repeats.' };

/** What is on the wire besides events, by the name of its message. */
export const FRAMES: Readonly<Record<string, Frame>> = {
  subscribe: {
    summary: 'Follow a task. Once a connection.',
    payload: object({ action: constant('subscribe'), taskId: TASK_ID, 'lastEventId?': CURSOR }),
  },
  multiplexSubscribe: {
    summary: 'Follow one more task.',
    payload: object({ action: constant('subscribe'), taskId: TASK_ID, 'lastEventId?': CURSOR, 'ref?': REF }),
  },
  multiplexUnsubscribe: {
    summary: 'Follow a task no longer. Answered by SUBSCRIPTION_ENDED, or by an ERROR where it is not followed.',
    payload: object({ action: constant('unsubscribe'), taskId: TASK_ID }),
  },
  SUBSCRIPTION_CONFIRMED: {
    summary: 'The first frame of a subscription. Events after the cursor follow.',
    payload: object({
      type: constant('SUBSCRIPTION_CONFIRMED'),
      taskId: TASK_ID,
      replayStartedAfterEventId: { ...HEAD, type: ['string', 'null'], description: 'The cursor; null without one.' },
      live: constant(true),
      headEventId: HEAD,
    }),
  },
  CAUGHT_UP: {
    summary: 'The events up to the head at the subscription were delivered; what follows is live. Once a subscription.',
    payload: object({ type: constant('CAUGHT_UP'), taskId: TASK_ID, headEventId: HEAD }),
  },
  SUBSCRIPTION_ENDED: {
    summary: 'The last frame of a subscription: the terminal event was delivered, or the client unsubscribed.',
    payload: object({
      type: constant('SUBSCRIPTION_ENDED'),
      taskId: TASK_ID,
      reason: { type: 'string', enum: ['terminal', 'unsubscribed'] },
    }),
  },
  ERROR: {
    summary: 'One subscription or frame is refused; the connection lives on.',
    payload: object({
      type: constant('ERROR'),
      'taskId?': TASK_ID,
      'ref?': REF,
      code: { type: 'string', pattern: '^[A-Z_]+$' },
      message: text('For a person.'),
    }),
  },
  RECONNECT: {
    summary: 'The replica is going away: the close with 1012 follows at once. Come back after that time.',
    payload: object({
      type: constant('RECONNECT'),
      afterMs: { type: 'integer', minimum: 0 },
      reason: constant('draining'),
    }),
  },
  heartbeat: {
    summary: 'Nothing happened for a while, and the connection lives.',
    payload: object({ type: constant('HEARTBEAT'), taskId: TASK_ID, live: constant(true) }),
  },
  multiplexHeartbeat: {
    summary: 'Nothing happened for a while, and the connection lives; also while it follows nothing.',
    payload: object({ type: constant('HEARTBEAT'), live: constant(true) }),
  },
  streamHeartbeat: {
    summary: 'The data of an `event: heartbeat`, which has no `id:` line.',
    payload: object({
      type: constant('HEARTBEAT'),
      taskId: TASK_ID,
      eventId: { type: 'string', pattern: '^hb-' },
      createdAt: TIMESTAMP,
      payload: object({ live: constant(true) }),
    }),
  },
};
