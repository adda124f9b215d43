import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_JSON_DEPTH } from '#protocol/limits.js';
import { canonicalJson } from '../../src/json/canonical-json.js';
import { MalformedJson } from '../../src/errors.js';
import { type JsonObject, type JsonValue, parseStrictJson } from '../../src/json/strict-json.js';
import { jsonValue } from '../support/json-value.js';

const MEBIBYTE = 1024 * 1024;

describe('strict JSON', () => {
  it.each([
    '{}',
    ' [ 1 , 2 ]\r\n\t',
    'null',
    '{"a":{"a":{"a":[]}}}',
    '[{"a":1},{"a":1}]',
    '"\\ud83d\\ude00 😀 \\u00e9"',
    '{"prototype":1,"toString":2,"hasOwnProperty":3}',
    '{"key":"__proto__ and constructor are only forbidden as keys"}',
    '["constructor"]',
  ])('takes %j as JSON.parse does', (text) => {
    expect(parseStrictJson(text)).toEqual(JSON.parse(text));
    expect(parseStrictJson(Buffer.from(text))).toEqual(JSON.parse(text));
  });

  it.each([
    ['', 'an unexpected end at offset 0'],
    ['  ', 'an unexpected end at offset 2'],
    ['{"a":1', 'an unexpected end at offset 6'],
    ['{"a":1,}', 'an unexpected character at offset 7'],
    ['{a:1}', 'an unexpected character at offset 1'],
    ['{"a" 1}', 'an unexpected character at offset 5'],
    ['[1,]', 'an unexpected character at offset 3'],
    ['[1 2]', 'an unexpected character at offset 3'],
    ['[1}', 'an unexpected character at offset 2'],
    ['{} {}', 'an unexpected character at offset 3'],
    ["{'a':1}", 'an unexpected character at offset 1'],
    ['[NaN]', 'an unexpected character at offset 1'],
    ['[nul]', 'an unexpected character at offset 1'],
    ['[nulll]', 'an unexpected character at offset 5'],
    ['[1]\u00a0', 'an unexpected character at offset 3'],
    ['// comment', 'an unexpected character at offset 0'],
    ['["secret', 'an unterminated string at offset 1'],
    ['["\\', 'an unterminated string at offset 1'],
    ['["\\"', 'an unterminated string at offset 1'],
    ['["a\nb"]', 'a control character in a string at offset 3'],
    ['["a\u0000b"]', 'a control character in a string at offset 3'],
    ['["\\x41"]', 'an unknown escape in a string at offset 1'],
    ['["\\u12"]', 'an unknown escape in a string at offset 1'],
    ['[01]', 'an unexpected character at offset 2'],
    ['[+1]', 'an unexpected character at offset 1'],
    ['[.5]', 'an unexpected character at offset 1'],
    ['[5.]', 'an unexpected character at offset 3'],
    ['[-]', 'an unexpected character at offset 2'],
    ['[1e]', 'an unexpected character at offset 3'],
    ['[0x10]', 'an unexpected character at offset 2'],
  ])('refuses the syntax of %j', (text, problem) => {
    expectRefusal(text, problem);
  });

  it.each([
    ['a byte order mark', '\ufeff{}', 'a byte order mark at offset 0'],
    ['U+0000 in a string', '["a\\u0000"]', 'U+0000 in a string at offset 1'],
    ['U+0000 in a key', '{"\\u0000":1}', 'U+0000 in a string at offset 1'],
    ['a lone high surrogate', '["\\ud83d"]', 'a lone surrogate in a string at offset 1'],
    ['a lone low surrogate', '["\\ude00x"]', 'a lone surrogate in a string at offset 1'],
    ['surrogates in the wrong order', '["\\ude00\\ud83d"]', 'a lone surrogate in a string at offset 1'],
    ['a lone surrogate in a key', '{"\\ud83d":1}', 'a lone surrogate in a string at offset 1'],
    ['duplicate keys', '{"a":1,"b":2,"a":1}', 'the duplicate key "a" at offset 13'],
    ['duplicate keys in different spellings', '{"a":1,"\\u0061":1}', 'the duplicate key "a" at offset 7'],
    ['duplicate empty keys', '[{"":1,"":1}]', 'the duplicate key "" at offset 7'],
    ['the key __proto__', '{"a":{"__proto__":{}}}', 'the forbidden key "__proto__" at offset 6'],
    ['an escaped __proto__', '{"\\u005f_proto__":{}}', 'the forbidden key "__proto__" at offset 1'],
    ['the key constructor', '{"constructor":{}}', 'the forbidden key "constructor" at offset 1'],
    ['an escaped constructor', '{"construct\\u006fr":{}}', 'the forbidden key "constructor" at offset 1'],
  ])('refuses %s', (_, text, problem) => {
    expectRefusal(text, problem);
  });

  it('refuses a lone surrogate that stands in a string unescaped', () => {
    expectRefusal('["\ud83d"]', 'a lone surrogate');
  });

  it.each([
    ['a stray continuation byte', [0x22, 0x80, 0x22]],
    ['an overlong encoding', [0x22, 0xc0, 0xaf, 0x22]],
    ['an encoded surrogate', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a character cut off at the end', [0x22, 0xf0, 0x9f, 0x98]],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]],
  ])('refuses %s as not being UTF-8', (_, bytes) => {
    expectRefusal(Uint8Array.from(bytes), 'bytes that are not UTF-8');
  });

  it('refuses a byte order mark in bytes, which a decoder would swallow', () => {
    expectRefusal(Uint8Array.of(0xef, 0xbb, 0xbf, 0x7b, 0x7d), 'a byte order mark at offset 0');
  });

  it('takes a view into a larger buffer', () => {
    expect(parseStrictJson(Buffer.from('xx{"a":1}xx').subarray(2, -2))).toEqual({ a: 1 });
  });

  it('takes nesting up to the limit and refuses one more', () => {
    expect(parseStrictJson(nested(MAX_JSON_DEPTH))).toEqual(JSON.parse(nested(MAX_JSON_DEPTH)));
    expectRefusal(nested(MAX_JSON_DEPTH + 1), 'nesting deeper than 32 at offset 32');
    expectRefusal('{"a":'.repeat(3000), 'nesting deeper than 32 at offset 160');
    expect(() => parseStrictJson('{"a":[]}', { maxDepth: 1 })).toThrow('nesting deeper than 1 at offset 5');
  });

  it('shows at most 64 characters of a key, escaped, and nothing of a value', () => {
    const key = `\u202e\u001b[31m${'k'.repeat(1000)}`;
    const text = `{${JSON.stringify(key)}:"secret",${JSON.stringify(key)}:"secret"}`;
    expect(refusalOf(text)?.problem).toBe(`the duplicate key "\\u202e\\u001b[31m${'k'.repeat(55)}..."`);
  });

  it('reads prototype and the like as members, not as what objects inherit', () => {
    const value = parseStrictJson('{"toString":null,"prototype":{}}') as JsonObject;
    expect(Object.keys(value)).toEqual(['toString', 'prototype']);
  });
});

describe('strict JSON numbers', () => {
  it.each([
    ...['0', '-1', '0.1', '1e21', '1E+2', '1e-7', '0.30000000000000004', '3.141592653589793238', '0e999', '0.000'],
    ...['9007199254740991', '9007199254740992', '-9007199254740992', '9007199254740994', '9007199254740994.0'],
    ...['1000000000000000000000', '1e23', '123456789e15', '18446744073709552000', '1.7976931348623157e308'],
    ...['5e-324', '2.2250738585072014e-308', '0.1000000000000000055511151231257827'],
  ])('takes %s', (literal) => {
    expect(parseStrictJson(literal)).toBe(Number(literal));
  });

  it.each([
    ...['9007199254740993', '9007199254740993.0', '9007199254740993e0', '900719925474099.3e1', '90071992547409930e-1'],
    ...['-9007199254740993', '9007199254740993.5', '12345678901234567890', '18446744073709551615'],
  ])('refuses %s, which a double cannot hold', (literal) => {
    expectRefusal(literal, 'a number that a double does not keep exactly at offset 0');
  });

  it('refuses an integer that a double holds but that comes back as another one', () => {
    expect(JSON.stringify(2 ** 60)).toBe('1152921504606847000');
    expectRefusal('1152921504606846976', 'a number that a double does not keep exactly at offset 0');
  });

  it.each(['1e400', '-1e400', '1e99999999999', '1000e306'])('refuses %s, which is infinite', (literal) => {
    expectRefusal(literal, 'a number beyond the range of a double at offset 0');
  });

  it.each(['1e-400', '-0.1e-400', '2e-324', '1e-99999999999'])('refuses %s, which becomes zero', (literal) => {
    expectRefusal(literal, 'a number that would become zero at offset 0');
  });

  it('takes -0 and has it written as 0', () => {
    const value = parseStrictJson('[-0]') as JsonValue[];
    expect(value).toEqual([-0]);
    expect([canonicalJson(value), JSON.stringify(value)]).toEqual(['[0]', '[0]']);
  });

  it('gives two accepted integers one value only if they are equal', () => {
    const integer = fc.bigInt({ min: -(2n ** 57n), max: 2n ** 57n });
    const neighbours = fc.tuple(integer, fc.bigInt({ min: 1n, max: 32n }));
    fc.assert(
      fc.property(neighbours, ([a, gap]) => {
        const [x, y] = [accepted(String(a)), accepted(String(a + gap))];
        expect(x !== undefined && x === y).toBe(false);
      }),
    );
  });
});

describe('strict JSON in linear time', () => {
  const adversaries: Record<string, string> = {
    'opening brackets': '['.repeat(MEBIBYTE),
    'opening objects': '{"a":'.repeat(MEBIBYTE / 5),
    'digits of one number': '1'.repeat(MEBIBYTE),
    'digits of one exponent': `1e${'9'.repeat(MEBIBYTE)}`,
    'zeros before a last digit': `0.${'0'.repeat(MEBIBYTE)}1`,
    'numbers of the greatest length': `[${`1.${'0'.repeat(397)}1,`.repeat(MEBIBYTE / 401)}`,
    'minus signs': '-'.repeat(MEBIBYTE),
    backslashes: `"${'\\\\'.repeat(MEBIBYTE / 2)}"`,
    'escaped characters': `"${'\\u0041'.repeat(MEBIBYTE / 6)}"`,
    'an unterminated string of quotes': `"${'\\"'.repeat(MEBIBYTE / 2)}`,
    'white space': ' '.repeat(MEBIBYTE),
    'keys of one object': `{${Array.from({ length: 90_000 }, (_, n) => `"k${n}":1`).join()}}`,
    'keys that look like indices': `{${Array.from({ length: 70_000 }, (_, n) => `"${(70_000 - n) * 4099}":1`).join()}}`,
  };

  it.each(Object.keys(adversaries))('gets through a mebibyte of %s', (name) => {
    const body = Buffer.from(adversaries[name] ?? '');
    const start = performance.now();
    refusalOf(body);
    // 1 to 50 ms on an idle machine; quadratic time would be minutes.
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe('strict JSON, whatever the input', () => {
  it('gives back every value that JSON.stringify wrote', () => {
    fc.assert(
      fc.property(jsonValue(), (value) => {
        const text = JSON.stringify(value);
        expect(parseStrictJson(text)).toEqual(JSON.parse(text));
        expect(parseStrictJson(Buffer.from(JSON.stringify(value, null, 2)))).toEqual(JSON.parse(text));
      }),
    );
  });

  it('throws nothing but MalformedJson, and agrees with JSON.parse on what it takes', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), agreesWithJsonParse));
    fc.assert(fc.property(fc.json().chain(mutated), agreesWithJsonParse), { numRuns: 1000 });
    fc.assert(
      fc.property(
        fc.array(fragment()).map((parts) => parts.join('')),
        agreesWithJsonParse,
      ),
      { numRuns: 1000 },
    );
  });

  it('throws nothing but MalformedJson for bytes', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void accepted(bytes)));
  });
});

function refusalOf(json: string | Uint8Array): MalformedJson | undefined {
  try {
    parseStrictJson(json);
  } catch (error) {
    if (error instanceof MalformedJson) return error;
    throw error;
  }
  return undefined;
}

function expectRefusal(json: string | Uint8Array, problem: string): void {
  expect(refusalOf(json)).toMatchObject({
    code: 'INVALID_REQUEST',
    kind: 'invalid',
    message: `Malformed JSON: ${problem}`,
  });
}

function accepted(json: string | Uint8Array): JsonValue | undefined {
  return refusalOf(json) === undefined ? parseStrictJson(json) : undefined;
}

function agreesWithJsonParse(text: string): void {
  const value = accepted(text);
  if (value !== undefined) expect(value).toEqual(JSON.parse(text));
}

function nested(depth: number): string {
  return '['.repeat(depth) + ']'.repeat(depth);
}

/** A sound text with one piece cut out and another put in: close enough to JSON to get past the first characters. */
function mutated(text: string): fc.Arbitrary<string> {
  return fc
    .tuple(fc.nat(text.length), fc.nat(3), fragment())
    .map(([at, cut, piece]) => text.slice(0, at) + piece + text.slice(at + cut));
}

function fragment(): fc.Arbitrary<string> {
  const pieces = [
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    '\\',
    '\\u',
    '\\ud83d',
    'a',
    '"a":1',
    '"\\u0061":',
    ' ',
    '\n',
    '-',
  ];
  return fc.constantFrom(
    ...pieces,
    '0',
    '1',
    '.',
    'e',
    'E+',
    '9007199254740993',
    'true',
    'null',
    '\u0000',
    '\ufeff',
    '😀',
  );
}
