import { digitsOf, marked, storedJson } from '#protocol/exact-json.js';
import { JsonText } from './json-text.js';
import type { JsonValue } from './strict-json.js';

/** A value whose parts may be texts that were canonicalised before. */
export type CanonicalPart = JsonValue | JsonText | readonly CanonicalPart[] | { readonly [key: string]: CanonicalPart };

/**
 * The JSON Canonicalization Scheme, RFC 8785, for fingerprints: equal values have one spelling. ECMAScript's own string and
 * number serialisation is what the RFC prescribes (3.2.2.2, 3.2.2.3; -0 is 0), and so is its default sort, by UTF-16 code units
 * (3.2.3). Written after the RFC's sample in its Appendix A, since the whole of it is the sorting of keys. An integer that a double
 * does not keep is beyond the RFC: it is written by its digits.
 *
 * Recursive: for values that `parseStrictJson` made, or others as shallow. A value that JSON cannot hold is a TypeError.
 * `JSON.stringify` would write `null` or omit it, so two values would share a fingerprint.
 */
export function canonicalJson(value: CanonicalPart): string {
  if (value === null || typeof value === 'boolean') return JSON.stringify(value);
  if (typeof value === 'string') return digitsOf(value) ?? JSON.stringify(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (typeof value !== 'object') throw new TypeError('Not a JSON value');
  if (value instanceof JsonText) return value.canonical ?? canonicalForm(value.json);
  if (isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] as CanonicalPart)}`);
  return `{${members.join(',')}}`;
}

/** `Array.isArray` does not narrow away `readonly` arrays. */
function isArray(value: object): value is readonly CanonicalPart[] {
  return Array.isArray(value);
}

/** The canonical form of a stored text. */
export function canonicalForm(json: string): string {
  return canonicalJson(JSON.parse(marked(json)) as JsonValue);
}

/** A value as two texts: one to store, one to compare. */
export function jsonTextOf(value: JsonValue): JsonText {
  return new JsonText(storedJson(value), canonicalJson(value));
}
