import { describe, expect, it } from '@jest/globals';
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { canonicalJson } from '../../src/json/canonical-json.js';
import { type JsonObject, type JsonValue, parseStrictJson } from '../../src/json/strict-json.js';
import { jsonValue } from '../support/json-value.js';

describe('canonical JSON', () => {
  it('writes the sample of RFC 8785', () => {
    // Section 3.2.2; 333333333.33333329 and 1E30 are taken as the RFC takes them.
    const text = String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`;
    expect(canonicalJson(parseStrictJson(text))).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  it('sorts keys by UTF-16 code units', () => {
    // Section 3.2.3: by code points, the emoji would come last.
    const text = String.raw`{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`;
    const order = Object.values(JSON.parse(canonicalJson(parseStrictJson(text))) as JsonObject).filter((n) => n !== 4);
    expect(order).toEqual([2, 6, 7, 1, 5, 3]);
  });

  it('does not depend on the order of keys', () => {
    fc.assert(fc.property(jsonValue(), (value) => expect(canonicalJson(reversed(value))).toBe(canonicalJson(value))));
  });

  it('is equal for equal values and different for different ones', () => {
    fc.assert(
      fc.property(jsonValue(), jsonValue(), (a, b) => {
        expect(canonicalJson(a) === canonicalJson(b)).toBe(equal(a, b));
        // What can be read back has not been confused with anything else.
        expect(equal(JSON.parse(canonicalJson(a)) as JsonValue, a)).toBe(true);
      }),
    );
  });

  it('writes what the reference implementation of the RFC writes', () => {
    fc.assert(fc.property(jsonValue(), (value) => expect(canonicalJson(value)).toBe(canonicalize(value))));
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, undefined, 1n])('refuses %s, which JSON cannot say', (value) => {
    expect(() => canonicalJson([value as JsonValue])).toThrow(TypeError);
  });
});

function reversed(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(reversed);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reversed(member)]),
  );
}

/** Deep equality of JSON values, in which 0 is -0; written out, so that the subject is not its own judge. */
function equal(a: JsonValue, b: JsonValue): boolean {
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return a === b;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [a as JsonObject, b as JsonObject];
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && equal(left[key] as JsonValue, right[key] as JsonValue))
  );
}
