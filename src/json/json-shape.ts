import { digitsOf } from '#protocol/exact-json.js';
import { MalformedJson } from '../errors.js';
import { jsonTextOf } from './canonical-json.js';
import { NOT_KEPT } from './json-number.js';
import { JsonText } from './json-text.js';
import type { JsonObject, JsonValue } from './strict-json.js';

/**
 * How a route reads a JSON object, by the names of the members. `text`: any JSON, kept as its text. `value`: a scalar, or a flat
 * array or object of scalars. `shallow`: the same, when the route itself refuses deeper parts. `listOf`: objects of a shape.
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

/** The counts of one body so far. */
interface Reading {
  unknownLeft: number;
  readonly cut: string[];
}

/** More than any route accepts, so a list that is cut here is still too long for its validator. */
const MAX_ELEMENTS = 1_024;
/** The same limit for a flat object, and for objects within a list. */
const MAX_INNER = 16;
/** Unknown members that a body keeps. Each becomes an error in the answer, and one is enough for the refusal. */
const MAX_UNKNOWN = 20;
/** The same limit for members that are cut. */
const MAX_CUT = 20;

/**
 * The members of a body, as deep as the validators look. Parts below the shape become an empty array or object. So a fitting body
 * is complete, and another one is refused exactly as the complete one would be.
 * @throws MalformedJson when an integer that only a text keeps is in another member
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

/** Another value instead of a list is refused for its type. */
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
  if (!isObject(value)) return hollow(value);
  const members = Object.entries(value).slice(0, MAX_INNER);
  return Object.fromEntries(members.map(([name, member]) => [name, hollow(member)]));
}

/** Whether `flat` leaves out a part. */
function isCut(value: JsonValue, maxElements: number): boolean {
  if (Array.isArray(value)) return value.length > maxElements || value.some(nests);
  if (!isObject(value)) return false;
  const members = Object.values(value);
  return members.length > MAX_INNER || members.some(nests);
}

function hollow(value: JsonValue): JsonValue {
  if (digitsOf(value) !== undefined) throw new MalformedJson(NOT_KEPT);
  if (Array.isArray(value)) return [];
  return isObject(value) ? {} : value;
}

function nests(value: JsonValue): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
