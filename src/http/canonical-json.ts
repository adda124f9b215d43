import { JsonText } from './json-text.js';
import type { JsonValue } from './strict-json.js';

/** A value whose parts may be texts that were canonicalised before. */
export type CanonicalPart = JsonValue | JsonText | readonly CanonicalPart[] | { readonly [key: string]: CanonicalPart };

/**
 * The JSON Canonicalization Scheme, RFC 8785, for fingerprints: equal values have one spelling. ECMAScript's own string
 * and number serialisation is what the RFC prescribes (3.2.2.2, 3.2.2.3; -0 is 0), and so is its default sort, by UTF-16
 * code units (3.2.3). Written after the RFC's sample in its Appendix A, since the whole of it is the sorting of keys.
 *
 * Recursive: for values that `parseStrictJson` made, or others as shallow. Anything that JSON cannot say is a TypeError,
 * where `JSON.stringify` would write `null` or leave it out and so give two values one fingerprint.
 */
export function canonicalJson(value: CanonicalPart): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (typeof value !== 'object') throw new TypeError('Not a JSON value');
  if (value instanceof JsonText) return value.canonical ?? canonicalJson(JSON.parse(value.json) as JsonValue);
  if (isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] as CanonicalPart)}`);
  return `{${members.join(',')}}`;
}

/** `Array.isArray` does not see that what is no array is no `readonly` one either. */
function isArray(value: object): value is readonly CanonicalPart[] {
  return Array.isArray(value);
}

/** A value as the text that is stored and the text that is compared. */
export function jsonTextOf(value: JsonValue): JsonText {
  return new JsonText(JSON.stringify(value), canonicalJson(value));
}
