import { jsonTextOf } from './canonical-json.js';
import { JsonText } from './json-text.js';
import type { JsonObject, JsonValue } from './strict-json.js';

/**
 * What a route takes of a JSON object, by the names of the members. `text`: any JSON, kept as its text. `value`: a scalar, or a flat
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

/** More than any route takes, so that a list that is cut here is still too long for its validator. */
const MAX_ELEMENTS = 512;
/** The same for a flat object, and for what stands within a list. */
const MAX_INNER = 16;
/** Of a body. Each is an error in the answer, and one is enough to refuse it. */
const MAX_UNKNOWN = 20;

/**
 * The members of a body, as much of each as a validator has to see: what nests deeper than its shape is an empty array or object. So a
 * body that fits is whole, and one that does not fit is refused as it would be whole.
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
      // What stands there instead of a list is refused for what it is, and for what it lacks.
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
