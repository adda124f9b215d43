import { type JsonSchema, text } from './json-schema.js';

// Names that clients and workers choose, and ids that the service gives. All are strings.

/** What a client may send in the place of a task id. Only a UUID names a task. */
export const TASK_ID = text({ title: 'a task id', pattern: '^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,254}$' });

/** The form that the service gives. */
export const TASK_UUID = text({ pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' });

/** `clientRequestId` and `clientActionId`. */
export const CLIENT_ID = text({ title: '1 to 255 visible ASCII characters', pattern: '^[\\x21-\\x7e]{1,255}$' });

/** Ids of workers and of questions, which have a length of their own. */
export const VISIBLE_ASCII = text({ title: 'visible ASCII characters', pattern: '^[\\x21-\\x7e]+$' });

export const TASK_TYPE = text({
  title: '1 to 128 characters of A-Z a-z 0-9 . _ : -',
  pattern: '^[A-Za-z0-9._:-]{1,128}$',
});

export const EVENT_ID = text({
  title: 'an event id',
  description: "The place in the task's log: decimal, from 1, without a gap.",
  pattern: '^[1-9][0-9]*$',
});

export const HEAD_EVENT_ID = text({
  title: 'an event id or 0',
  description: 'The id of the last event that is stored; 0 without any.',
  pattern: '^(0|[1-9][0-9]*)$',
});

/** The most characters of an event id that a client sends. */
export const MAX_CURSOR_LENGTH = 255;

/** What a client sends as its cursor over HTTP. */
export const CURSOR = text({
  description: 'The last event id that the client has; absent, empty and 0 mean from the start.',
  pattern: `^(0|[1-9][0-9]{0,${MAX_CURSOR_LENGTH - 1}})?$`,
});

/** UUIDs, names, e-mail addresses, `auth0|…` subjects. */
export const PRINCIPAL_ID = text({ pattern: '^[A-Za-z0-9][A-Za-z0-9._:@|-]{0,127}$' });

/** The pattern of a shape, for values that are strings already. */
export const patternOf = ({ pattern = '' }: JsonSchema): RegExp => new RegExp(pattern);
