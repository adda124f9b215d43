import { jsonTextOf } from './canonical-json.js';
import { JsonText } from './json-text.js';
import type { JsonObject, JsonValue } from './strict-json.js';

/**
 * What a route takes of a JSON object, by the names of the members. `text`: any JSON, kept as its text. `value`: a scalar, or a flat
 * array or object of scalars. `shallow`: the same, where the route itself refuses what nests deeper. `listOf`: objects of a shape.
 */
export interface Shape {
  readonly [name: string]: MemberShape;
}
export type MemberShape = 'value' | 'shallow' | 'text' | { readonly listOf: Shape };

export type Member = JsonText | JsonValue | readonly Member[] | Members;
export interface Members {
  [name: string]: Member;
}

export interface Taken {
  readonly members: Members;
  /** The paths of members that lost a part, because they are larger or nest deeper than their shape. A route must not go on with them. */
  readonly cut: readonly string[];
}

/** What one body has had so far. */
interface Reading {
  unknownLeft: number;
  readonly cut: string[];
}

/** More than any route takes, so that a list that is cut here is still too long for its validator. */
const MAX_ELEMENTS = 512;
/** The same for a flat object, and for what stands within a list. */
const MAX_INNER = 16;
/** Of a body. Each is an error in the answer, and one is enough to refuse it. */
const MAX_UNKNOWN = 20;
/** The same for members that are cut. */
const MAX_CUT = 20;

/**
 * The members of a body, as much of each as a validator has to see: what nests deeper than its shape is an empty array or object. So a
 * body that fits is whole, and one that does not fit is refused as it would be whole.
 */
export function membersOf(object: object, shape: Shape): Taken {
  const reading: Reading = { unknownLeft: MAX_UNKNOWN, cut: [] };
  return { members: taken(object, shape, MAX_ELEMENTS, reading, ''), cut: reading.cut.slice(0, MAX_CUT) };
}

function taken(object: object, shape: Shape, maxElements: number, reading: Reading, parent: string): Members {
  const members: Members = {};
  for (const [name, value] of Object.entries(object) as [string, JsonValue | JsonText][]) {
    const expected = Object.hasOwn(shape, name) ? shape[name] : undefined;
    if (expected === undefined) {
      if (reading.unknownLeft-- > 0) members[name] = null;
    } else if (expected === 'text' || value instanceof JsonText) {
      members[name] = value instanceof JsonText ? value : jsonTextOf(value);
    } else if (typeof expected === 'object' && typeof value === 'object' && value !== null) {
      members[name] = elementsOf(value, expected.listOf, reading, `${parent}${name}`);
    } else {
      members[name] = flat(value, maxElements);
      if (expected !== 'shallow' && isCut(value, maxElements)) reading.cut.push(`${parent}${name}`);
    }
  }
  return members;
}

/** What stands there instead of a list is refused for what it is, and for what it lacks. */
function elementsOf(value: JsonObject | readonly JsonValue[], shape: Shape, reading: Reading, path: string): Member {
  const element = (one: JsonValue, at: string): Member => {
    if (isObject(one)) return taken(one, shape, MAX_INNER, reading, `${at}.`);
    if (nests(one)) reading.cut.push(at);
    return hollow(one);
  };
  if (!Array.isArray(value)) return element(value as JsonObject, path);
  if (value.length > MAX_ELEMENTS) reading.cut.push(path);
  return value.slice(0, MAX_ELEMENTS).map((one: JsonValue, n) => element(one, `${path}[${n}]`));
}

export function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof JsonText);
}

function flat(value: JsonValue, maxElements: number): Member {
  if (Array.isArray(value)) return value.slice(0, maxElements).map(hollow);
  if (!isObject(value)) return value;
  const members = Object.entries(value).slice(0, MAX_INNER);
  return Object.fromEntries(members.map(([name, member]) => [name, hollow(member)]));
}

/** Whether `flat` leaves something out. */
function isCut(value: JsonValue, maxElements: number): boolean {
  if (Array.isArray(value)) return value.length > maxElements || value.some(nests);
  if (!isObject(value)) return false;
  const members = Object.values(value);
  return members.length > MAX_INNER || members.some(nests);
}

function hollow(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return [];
  return isObject(value) ? {} : value;
}

function nests(value: JsonValue): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
