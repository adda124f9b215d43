import { HEAD_EVENT_ID, MAX_CURSOR_LENGTH, TASK_ID } from './ids.js';
import {
  constant,
  described,
  integer,
  type Members,
  nullable,
  object,
  type ObjectOf,
  oneOf,
  optional,
  text,
  timestamp,
} from './json-schema.js';
import { MAX_REF_LENGTH } from './limits.js';
import { CHANGES, CHANGES_CURSOR, FROM } from './requests.js';
import { CHANGE_FRAME_MEMBERS, SNAPSHOT_FRAME_MEMBERS } from './snapshots.js';

/** The subprotocol that a client offers to follow many tasks on one connection. */
export const MULTIPLEX = 'taskbridge.multiplex.v1';
/** The name of the mode without the multiplex, for clients that offer a follow token: browsers demand that one is selected. */
export const PLAIN = 'taskbridge.v1';

/** The most characters of the credentials in a frame. */
export const MAX_SHOWN_TOKEN_LENGTH = 8_192;

interface FrameRow {
  readonly summary: string;
  readonly members: Members;
}

const CURSOR = described(
  'The last event id that the client has; absent, null, empty and 0 mean from the start.',
  nullable(text({ maxLength: MAX_CURSOR_LENGTH })),
);
const REF = described('What an error about this frame repeats.', text({ maxLength: MAX_REF_LENGTH }));

/** What is on the wire besides events, by the name of its message. */
export const FRAMES = {
  subscribe: {
    summary: 'Follow a task. Once a connection.',
    members: { action: constant('subscribe'), taskId: TASK_ID, lastEventId: optional(CURSOR) },
  },
  multiplexSubscribe: {
    summary: 'Follow one more task.',
    members: {
      action: constant('subscribe'),
      taskId: TASK_ID,
      lastEventId: optional(CURSOR),
      from: optional(FROM),
      ref: optional(REF),
    },
  },
  multiplexUnsubscribe: {
    summary: 'Follow a task no longer. Answered by SUBSCRIPTION_ENDED, or by an ERROR where it is not followed.',
    members: { action: constant('unsubscribe'), taskId: TASK_ID },
  },
  multiplexAuthenticate: {
    summary: 'Show newer credentials of the same principal. Answered by AUTHENTICATED, or by an ERROR.',
    members: {
      action: constant('authenticate'),
      token: described(
        'A follow token of the same reach, or a bearer token that the service knows.',
        text({ minLength: 1, maxLength: MAX_SHOWN_TOKEN_LENGTH }),
      ),
    },
  },
  subscribeChanges: {
    summary: 'Follow what changes among tasks. One feed a connection.',
    members: { action: constant('subscribe_changes'), ...CHANGES, ref: optional(REF) },
  },
  unsubscribeChanges: {
    summary: 'Follow the feed no longer. Answered by CHANGES_ENDED, or by an ERROR where there is none.',
    members: { action: constant('unsubscribe_changes') },
  },
  CHANGES_CONFIRMED: {
    summary: 'The first frame of a feed. Changes after the cursor `next` follow.',
    members: { type: constant('CHANGES_CONFIRMED'), next: CHANGES_CURSOR },
  },
  CHANGE: {
    summary: 'A task has changed, was removed, or does not match the filter.',
    members: { type: constant('CHANGE'), ...CHANGE_FRAME_MEMBERS },
  },
  CHANGES_CAUGHT_UP: {
    summary: 'The client has all changes that were stored. `next` is its cursor.',
    members: { type: constant('CHANGES_CAUGHT_UP'), next: CHANGES_CURSOR },
  },
  CHANGES_ENDED: {
    summary: 'The last frame of a feed.',
    members: { type: constant('CHANGES_ENDED'), reason: constant('unsubscribed') },
  },
  streamedChange: {
    summary: 'The data of an event of a feed. The same without `type`.',
    members: CHANGE_FRAME_MEMBERS,
  },
  changesHeartbeat: {
    summary: 'The data of an `event: heartbeat` of a feed. Its `id:` line is the cursor, too.',
    members: { type: constant('HEARTBEAT'), next: CHANGES_CURSOR, live: constant(true) },
  },
  SUBSCRIPTION_CONFIRMED: {
    summary: 'The first frame of a subscription. Events after the cursor follow.',
    members: {
      type: constant('SUBSCRIPTION_CONFIRMED'),
      taskId: TASK_ID,
      replayStartedAfterEventId: described('The cursor; null without one.', nullable(HEAD_EVENT_ID)),
      live: constant(true),
      headEventId: HEAD_EVENT_ID,
    },
  },
  TASK_SNAPSHOT: {
    summary: 'With `from: snapshot`: the snapshot with output, without `input`.',
    members: { type: constant('TASK_SNAPSHOT'), ...SNAPSHOT_FRAME_MEMBERS },
  },
  CAUGHT_UP: {
    summary: 'The client has everything that was stored when it subscribed. What follows is live.',
    members: { type: constant('CAUGHT_UP'), taskId: TASK_ID, headEventId: HEAD_EVENT_ID },
  },
  SUBSCRIPTION_ENDED: {
    summary: 'The last frame of a subscription. `reason` is `terminal`, after the terminal event, or `unsubscribed`.',
    members: { type: constant('SUBSCRIPTION_ENDED'), taskId: TASK_ID, reason: oneOf('terminal', 'unsubscribed') },
  },
  ERROR: {
    summary: 'About one subscription or frame only. `ref` is that of the `subscribe` which it answers.',
    members: {
      type: constant('ERROR'),
      taskId: optional(TASK_ID),
      ref: optional(REF),
      code: text({ pattern: '^[A-Z_]+$' }),
      message: described('For a person.', text()),
    },
  },
  AUTH_EXPIRING: {
    summary:
      'The credentials of the connection end at this time, in 60 s or less: short ones have half of their time left. Without newer ones the connection closes then, with 4401.',
    members: { type: constant('AUTH_EXPIRING'), expiresAt: timestamp() },
  },
  AUTHENTICATED: {
    summary: 'The newer credentials count. `expiresAt` is when they end, if they do.',
    members: { type: constant('AUTHENTICATED'), expiresAt: optional(timestamp()) },
  },
  RECONNECT: {
    summary: 'The service drains: the connection closes now, with 1012. Come back after `afterMs`.',
    members: { type: constant('RECONNECT'), afterMs: integer(0), reason: constant('draining') },
  },
  heartbeat: {
    summary: 'Nothing happened for a while, and the connection lives.',
    members: { type: constant('HEARTBEAT'), taskId: TASK_ID, live: constant(true) },
  },
  multiplexHeartbeat: {
    summary: 'There was no event of any of the tasks for 15 s.',
    members: { type: constant('HEARTBEAT'), live: constant(true) },
  },
  streamHeartbeat: {
    summary: 'The data of an `event: heartbeat`, which has no `id:` line.',
    members: {
      type: constant('HEARTBEAT'),
      taskId: TASK_ID,
      eventId: text({ pattern: '^hb-' }),
      createdAt: timestamp(),
      payload: object({ live: constant(true) }),
    },
  },
} as const satisfies Readonly<Record<string, FrameRow>>;

export type FrameName = keyof typeof FRAMES;
export type Frame<N extends FrameName> = ObjectOf<(typeof FRAMES)[N]['members']>;
