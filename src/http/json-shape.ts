import { jsonTextOf } from './canonical-json.js';
import { JsonText } from './json-text.js';
import type { JsonObject, JsonValue } from './strict-json.js';

/**
 * How a route reads a JSON object, by the names of the members. `text`: any JSON, kept as its text. `value`: a scalar, or a flat
 * array or object of scalars. `listOf`: objects of a shape.
 */
export interface Shape {
  readonly [name: string]: MemberShape;
}
export type MemberShape = 'value' | 'text' | { readonly listOf: Shape };

export type Member = JsonText | JsonValue | readonly Member[] | Members;
export interface Members {
  [name: string]: Member;
}

/** More than any route accepts, so a list that is cut here is still too long for its validator. */
const MAX_ELEMENTS = 512;
/** The same limit for a flat object, and for objects within a list. */
const MAX_INNER = 16;
/** Unknown members that a body keeps. Each becomes an error in the answer, and one is enough for the refusal. */
const MAX_UNKNOWN = 20;

/**
 * The members of a body, as deep as the validators look. Parts below the shape become an empty array or object. So a fitting body
 * is complete, and another one is refused exactly as the complete one would be.
 */
export function membersOf(object: object, shape: Shape): Members {
  return taken(object, shape, MAX_ELEMENTS, { left: MAX_UNKNOWN });
}

function taken(object: object, shape: Shape, maxElements: number, unknown: { left: number }): Members {
  const members: Members = {};
  for (const [name, value] of Object.entries(object) as [string, JsonValue | JsonText][]) {
    const expected = Object.hasOwn(shape, name) ? shape[name] : undefined;
    if (expected === undefined) {
      if (unknown.left-- > 0) members[name] = null;
    } else if (expected === 'text' || value instanceof JsonText) {
      members[name] = value instanceof JsonText ? value : jsonTextOf(value);
    } else if (expected !== 'value' && typeof value === 'object' && value !== null) {
      const element = (one: JsonValue) =>
        isObject(one) ? taken(one, expected.listOf, MAX_INNER, unknown) : hollow(one);
      // Another value instead of a list is refused for its type.
      members[name] = Array.isArray(value) ? value.slice(0, MAX_ELEMENTS).map(element) : element(value);
    } else {
      members[name] = flat(value, maxElements);
    }
  }
  return members;
}

function flat(value: JsonValue, maxElements: number): Member {
  if (Array.isArray(value)) return value.slice(0, maxElements).map(hollow);
  if (!isObject(value)) return value;
  const members = Object.entries(value).slice(0, MAX_INNER);
  return Object.fromEntries(members.map(([name, member]) => [name, hollow(member)]));
}

function hollow(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return [];
  return isObject(value) ? {} : value;
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
