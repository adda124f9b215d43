import { type JsonSchema, text } from './json-schema.js';

// Names that clients and workers choose, and ids that the service gives. All are strings.

/** What a client may send in the place of a task id. Only a UUID names a task. */
export const TASK_ID = text({ title: 'a task id', pattern: '^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,254}$' });

/** What a client sends in a path. Upper case names the same task. */
export const SENT_TASK_ID = text({
  title: 'a UUID',
  pattern: '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$',
});

/** The form that the service gives. */
export const TASK_UUID = text({
  title: 'a UUID in lower case',
  pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
});

/** `clientActionId`. */
export const CLIENT_ACTION_ID = text({
  title: '1 to 255 visible ASCII characters',
  pattern: '^[\\x21-\\x7e]{1,255}$',
});

const MAX_CLIENT_REQUEST_ID_LENGTH = 255;

/** JSON Schema counts Unicode characters, and has no name for the printable ones. The pattern refuses controls alone. */
export const CLIENT_REQUEST_ID = text({
  title: `1 to ${MAX_CLIENT_REQUEST_ID_LENGTH} printable Unicode characters`,
  pattern: '^[^\\x00-\\x1f\\x7f-\\x9f]+$',
  minLength: 1,
  maxLength: MAX_CLIENT_REQUEST_ID_LENGTH,
});

/**
 * Letters, marks, numbers, punctuation, symbols, spaces, and the two joiners, without which some scripts and emoji fall apart. Not:
 * controls, invisible format characters (they reorder or hide a key in a log), line and paragraph separators, private use, surrogates,
 * and unassigned characters, whose normal form is not decided yet.
 */
const PRINTABLE = new RegExp(
  `^[\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Zs}\\u200c\\u200d]{1,${MAX_CLIENT_REQUEST_ID_LENGTH}}$`,
  'u',
);
/** No text that is longer than this, in UTF-16 units, has a normal form of 255 characters. Normalising takes time. */
const MAX_UNNORMALISED_LENGTH = 8 * MAX_CLIENT_REQUEST_ID_LENGTH;

/** The text in normal form C, in which a `clientRequestId` is stored and compared; undefined when it can be none. */
export function clientRequestIdFrom(sent: string): string | undefined {
  if (sent.length > MAX_UNNORMALISED_LENGTH) return undefined;
  const normal = sent.normalize('NFC');
  return PRINTABLE.test(normal) ? normal : undefined;
}

/** Ids of workers and of questions, which have a length of their own. */
export const VISIBLE_ASCII = text({ title: 'visible ASCII characters', pattern: '^[\\x21-\\x7e]+$' });

export const TASK_TYPE = text({
  title: '1 to 128 characters of A-Z a-z 0-9 . _ : / -',
  pattern: '^[A-Za-z0-9._:/-]{1,128}$',
});

/** A step of a handler: a key of its own, its place in a loop, its version. */
export const STEP_KEY = text({
  title: '1 to 128 characters of A-Z a-z 0-9 . _ : / -, then perhaps # and a number, then perhaps @ and a number',
  pattern: '^[A-Za-z0-9._:/-]{1,128}(#[0-9]{1,9})?(@[0-9]{1,9})?$',
  examples: ['load', 'item#3', 'draft@2'],
});

/** An event of an attempt, as the attempt names it. */
export const EVENT_KEY = text({
  title: '1 to 128 visible ASCII characters',
  pattern: '^[\\x21-\\x7e]{1,128}$',
  examples: ['writer-3/17'],
});

/** A program, and what it can. */
export const WORKER_VERSION = text({
  title: '1 to 64 visible ASCII characters',
  pattern: '^[\\x21-\\x7e]{1,64}$',
  examples: ['1.4.2'],
});
export const WORKER_FEATURE = text({
  title: '1 to 64 letters and digits',
  pattern: '^[A-Za-z0-9]{1,64}$',
  examples: ['steps', 'eventKeys'],
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

/** What a client sends to page backwards: `headEventId` plus one begins at the end. */
export const BEFORE_EVENT_ID = text({
  description: 'Events before this one, the newest of them. From 1 to one more than `headEventId`.',
  pattern: `^[1-9][0-9]{0,${MAX_CURSOR_LENGTH - 1}}$`,
});

/** UUIDs, names, e-mail addresses, `auth0|…` subjects. */
export const PRINCIPAL_ID = text({ pattern: '^[A-Za-z0-9][A-Za-z0-9._:@|-]{0,127}$' });

/** The pattern of a shape, for values that are strings already. */
export const patternOf = ({ pattern = '' }: JsonSchema): RegExp => new RegExp(pattern);

const A_TASK_UUID = patternOf(TASK_UUID);

/** The one spelling of a task id. The service uses it everywhere, also in answers. Other texts stay as they are. */
export function taskIdFrom(sent: string): string {
  const lower = sent.toLowerCase();
  return A_TASK_UUID.test(lower) ? lower : sent;
}
