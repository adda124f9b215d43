import fc from 'fast-check';
import type { JsonValue } from '../../src/json/strict-json.js';

/** Every JSON value except for what strict JSON refuses by design. */
export function jsonValue(): fc.Arbitrary<JsonValue> {
  const string = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\u0000') && text.isWellFormed());
  const key = fc
    .oneof(string, fc.constantFrom('a', 'b', 'toString', 'prototype', '1', '10'))
    .filter((name) => name !== '__proto__' && name !== 'constructor');
  const number = fc.double({ noNaN: true, noDefaultInfinity: true });
  return fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.oneof(string, number, fc.integer(), fc.boolean(), fc.constant(null)),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
    ),
  })).value;
}
