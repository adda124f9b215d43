import { isName, type AuthContext } from '../auth/auth-context.js';
import type { Readiness } from '../health/readiness-probe.js';
import { isTaskId } from '../tasks/domain/task-id.js';
import { StoredEvent } from '../tasks/domain/stored-event.js';
import type { UploadAllowance } from '../uploads/upload-policy.js';
import { type Check, isObject, kindOf, Nonsense } from './host-calls.js';

// What answers of a host have to be. Each is read once and copied: what a getter or a Proxy says the next time does not count.

const MAX_SCOPES = 1000;
const MAX_SCOPE_CHARACTERS = 256;
const MAX_PROBES = 64;
/** Names and words of readiness become labels of metrics, and are shown to anybody. */
const WORD = /^[A-Za-z0-9_.:-]{1,64}$/;
const EVENT_TYPE = /^[A-Z][A-Z0-9_]{0,63}$/;
const EVENT_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

type Fields<T> = { readonly [Name in keyof T]?: unknown };

export const anything: Check<void> = () => undefined;

/** Whatever is not `true` is no. */
export const yesOrNo: Check<boolean> = (answer, complain) => {
  if (typeof answer !== 'boolean') complain(`${kindOf(answer)} where a boolean belongs, taken for no`);
  return answer === true;
};

export const authContext: Check<AuthContext> = (answer, complain) => {
  const { subject, scopes, tenantId, appId, attributes, expiresAt } = fields<AuthContext>(answer, 'an AuthContext');
  if (typeof subject !== 'string') throw new Nonsense(`subject is ${kindOf(subject)} where text belongs`);
  // The caller is refused for it, as for the other names that are none.
  if (!isName(subject)) complain('subject is empty, too long, or has characters that no name has');
  if (!isObject(attributes ?? {})) throw new Nonsense(`attributes is ${kindOf(attributes)} where an object belongs`);
  return Object.freeze({
    subject,
    scopes: scopesOf(scopes),
    ...optionalName('tenantId', tenantId),
    ...optionalName('appId', appId),
    attributes: (attributes ?? {}) as AuthContext['attributes'],
    ...ending(expiresAt),
  });
};

/** Copied, because a `Date` can be changed. */
function ending(expiresAt: unknown): Pick<AuthContext, 'expiresAt'> {
  if (expiresAt === undefined || expiresAt === null) return {};
  if (!(expiresAt instanceof Date)) throw new Nonsense(`expiresAt is ${kindOf(expiresAt)} where a Date belongs`);
  const time = Date.prototype.getTime.call(expiresAt);
  if (Number.isNaN(time)) throw new Nonsense('expiresAt is an invalid Date');
  return { expiresAt: new Date(time) };
}

function optionalName<Key extends string>(key: Key, value: unknown): { [K in Key]?: string } {
  if (value === undefined || value === null || value === '') return {};
  if (typeof value !== 'string' || !isName(value)) throw new Nonsense(`${key} is no name of 1 to 128 characters`);
  return { [key]: value } as { [K in Key]?: string };
}

function scopesOf(given: unknown): ReadonlySet<string> {
  const isSet = isObject(given) && typeof (given as Partial<ReadonlySet<string>>).has === 'function';
  if (!isSet) throw new Nonsense(`scopes is ${kindOf(given)} where a Set of texts belongs`);
  const scopes = new Set<string>();
  for (const scope of given as Iterable<unknown>) {
    const isScope = typeof scope === 'string' && scope.length <= MAX_SCOPE_CHARACTERS;
    if (!isScope || scopes.size === MAX_SCOPES) throw new Nonsense('scopes has what is no scope, or too many of them');
    scopes.add(scope);
  }
  return scopes;
}

export const uploadAllowance: Check<UploadAllowance> = (answer) => {
  const { maxFiles, maxFileBytes, maxTotalBytes, maxOwnedBytes } = fields<UploadAllowance>(
    answer,
    'an UploadAllowance',
  );
  return {
    maxFiles: wholeNumber('maxFiles', maxFiles),
    maxFileBytes: wholeNumber('maxFileBytes', maxFileBytes),
    maxTotalBytes: wholeNumber('maxTotalBytes', maxTotalBytes),
    ...(maxOwnedBytes !== undefined && { maxOwnedBytes: wholeNumber('maxOwnedBytes', maxOwnedBytes) }),
  };
};

function wholeNumber(name: string, value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw new Nonsense(`${name} is ${kindOf(value)} where a whole number of at least 0 belongs`);
  }
  return value as number;
}

export const readiness: Check<Readiness> = (answer) => {
  const { ready, details, cause } = fields<Readiness>(answer, 'a Readiness');
  if (typeof ready !== 'boolean') throw new Nonsense(`ready is ${kindOf(ready)} where a boolean belongs`);
  const parts = Object.entries(fields<Readiness['details']>(details, 'an object of parts'));
  if (parts.length > MAX_PROBES) throw new Nonsense(`details has more than ${MAX_PROBES} parts`);
  const copied = parts.map(([name, part]) => {
    const { status } = fields<{ status: string }>(part, 'a part with a status');
    if (!WORD.test(name) || typeof status !== 'string' || !WORD.test(status)) {
      throw new Nonsense('details has a name or a status that is no word');
    }
    return [name, { status }] as const;
  });
  return { ready, details: Object.fromEntries(copied), cause };
};

/** An event as a LiveLog brought it; undefined when it is none. Made anew, unless it is the very object that was published. */
export function broughtEvent(given: unknown): StoredEvent | undefined {
  try {
    const { taskId, eventId, type, createdAt, payloadJson } = fields<StoredEvent>(given, 'an event');
    const isEvent =
      typeof taskId === 'string' &&
      isTaskId(taskId) &&
      Number.isSafeInteger(eventId) &&
      (eventId as number) > 0 &&
      typeof type === 'string' &&
      EVENT_TYPE.test(type) &&
      typeof createdAt === 'string' &&
      EVENT_TIME.test(createdAt) &&
      isJsonLine(payloadJson);
    if (!isEvent) return undefined;
    return given instanceof StoredEvent
      ? given
      : new StoredEvent(taskId, eventId as number, type, createdAt, payloadJson);
  } catch {
    return undefined;
  }
}

/** JSON without a line end: it is framed as it is. */
function isJsonLine(text: unknown): text is string {
  if (typeof text !== 'string' || /[\r\n]/.test(text)) return false;
  JSON.parse(text);
  return true;
}

function fields<T>(value: unknown, what: string): Fields<T> {
  if (!isObject(value) || Array.isArray(value)) throw new Nonsense(`${kindOf(value)} where ${what} belongs`);
  return value;
}
