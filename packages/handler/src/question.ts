import { marked } from '#protocol/exact-json.js';
import { SUSPENSION_KINDS, type SuspensionKind } from '#protocol/events.js';
import { MAX_ALLOWED_ACTIONS, MAX_EVENT_BYTES, MAX_NAME_LENGTH } from '#protocol/limits.js';
import { bytesOf, eventInvalid, eventTooLarge } from './events.js';
import { NotStorable, smallStorableJson, TooLarge } from './storable-json.js';
import { textFault } from './storable-text.js';
import type { JsonObject, SuspendRequest } from './task-handler.js';

/** A question as it is stored. Big integers in it are marks, which `storedJson` writes by their digits. */
export interface Question {
  readonly suspendId: string;
  readonly kind: SuspensionKind;
  readonly reasonCode: string;
  readonly allowedActions: readonly string[];
  readonly schemaVersion: number;
  /** By action, a JSON Schema. The service judges whether it takes them. */
  readonly actionSchemas?: JsonObject;
  /** RFC 3339. */
  readonly expiresAt?: string;
  readonly uiHints?: JsonObject;
  readonly interaction?: JsonObject;
}

/** A handler's own list of them is the protocol's. */
const KINDS: readonly NonNullable<SuspendRequest['kind']>[] = SUSPENSION_KINDS;

const KNOWN: ReadonlySet<string> = new Set([
  'key',
  'reasonCode',
  'allowedActions',
  'kind',
  'schemaVersion',
  'actionSchemas',
  'expiresAt',
  'uiHints',
  'interaction',
]);

/**
 * Checks a handler's question here, where the handler gets the error. At the end of the attempt the service could only refuse it.
 * `ordinal` counts the questions of the invocation.
 * @throws Refused
 */
export function questionOf(asked: SuspendRequest, ordinal: number, maxBytes = MAX_EVENT_BYTES): Question {
  if (typeof asked !== 'object' || asked === null) throw eventInvalid('question', 'must be an object');
  const { key = String(ordinal), kind = 'USER_ACTION_REQUIRED', schemaVersion = 1 } = asked;
  const { reasonCode, allowedActions, actionSchemas, expiresAt, uiHints, interaction } = asked;
  const unknown = Object.keys(asked).find((name) => !KNOWN.has(name));
  if (unknown !== undefined) throw eventInvalid('question', 'has an unknown member');
  if (typeof key !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(key))
    throw eventInvalid('key', 'must be 1 to 255 visible ASCII characters');
  if (!KINDS.includes(kind)) throw eventInvalid('kind', `must be one of ${KINDS.join(', ')}`);
  if (!Number.isSafeInteger(schemaVersion) || schemaVersion < 1)
    throw eventInvalid('schemaVersion', 'must be a whole number from 1');
  if (!isName(reasonCode)) throw eventInvalid('reasonCode', `must be 1 to ${MAX_NAME_LENGTH} characters`);
  const question: Question = {
    suspendId: key,
    kind,
    schemaVersion,
    reasonCode,
    allowedActions: actions(allowedActions),
    ...(actionSchemas !== undefined && { actionSchemas: object('actionSchemas', actionSchemas, maxBytes) }),
    ...(expiresAt !== undefined && { expiresAt: timestamp(expiresAt) }),
    ...(uiHints !== undefined && { uiHints: object('uiHints', uiHints, maxBytes) }),
    ...(interaction !== undefined && { interaction: object('interaction', interaction, maxBytes) }),
  };
  if (bytesOf(question) > maxBytes) throw eventTooLarge(maxBytes);
  return question;
}

function actions(given: unknown): readonly string[] {
  const list: unknown[] = Array.isArray(given) ? [...(given as unknown[])] : [];
  if (list.length === 0 || list.length > MAX_ALLOWED_ACTIONS || !list.every(isName)) {
    throw eventInvalid(
      'allowedActions',
      `must be 1 to ${MAX_ALLOWED_ACTIONS} strings of 1 to ${MAX_NAME_LENGTH} characters`,
    );
  }
  return list;
}

function isName(value: unknown): value is string {
  if (typeof value !== 'string' || textFault(value) !== undefined) return false;
  return value !== '' && Array.from(value).length <= MAX_NAME_LENGTH;
}

function timestamp(given: unknown): string {
  const date = new Date(given as string | number | Date);
  // The years that RFC 3339 has, of which PostgreSQL has no year 0.
  const year = date.getUTCFullYear();
  if (!(year >= 1 && year <= 9_999)) throw eventInvalid('expiresAt', 'must be a time from year 1 to 9999');
  return date.toISOString();
}

function object(name: string, given: unknown, maxBytes: number): JsonObject {
  try {
    const json = smallStorableJson(given, maxBytes);
    if (json?.startsWith('{')) return JSON.parse(marked(json)) as JsonObject;
  } catch (error) {
    if (error instanceof TooLarge) throw eventTooLarge(maxBytes);
    if (error instanceof NotStorable) throw eventInvalid(name, `cannot be stored: ${error.message}`);
    throw error;
  }
  throw eventInvalid(name, 'must be an object');
}
