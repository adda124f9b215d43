import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_DEPTH, MAX_RESULT_JSON_BYTES } from '#handler/limits.js';
import { NotStorable, smallStorableJson, storableJson, TooLarge } from '#handler/storable-json.js';
import { withoutLineEnds } from '#protocol/exact-json.js';
import { MAX_JSON_DEPTH } from '#protocol/limits.js';
import { parseStrictJson } from '../../src/json/strict-json.js';

class Point {
  readonly x = 1;
  readonly missing = undefined;
  get inherited(): string {
    return 'not written';
  }
}

const rawJSON = (text: string) => (JSON as unknown as { rawJSON(text: string): object }).rawJSON(text);

const cyclic: unknown[] = [];
cyclic.push({ cyclic });

function nested(depth: number): unknown {
  let value: unknown = [];
  for (let around = 1; around < depth; around += 1) value = { a: value };
  return value;
}

/** What the service says to the JSON of a worker's call with this result. */
function isTaken(result: unknown): boolean {
  try {
    parseStrictJson(`{"leaseToken":"1.a","result":${JSON.stringify(result) ?? 'null'}}`);
    return true;
  } catch {
    return false;
  }
}

const hasNoFinite = (value: unknown): boolean => {
  let found = false;
  JSON.stringify(value, (_, member: unknown) => {
    if ((typeof member === 'number' || member instanceof Number) && !Number.isFinite(Number(member))) found = true;
    return member;
  });
  return found;
};

const anything = fc.anything({
  key: fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('__proto__', 'constructor', 'prototype', 'a\0', '\ud83d'),
  ),
  values: [
    ...[fc.string({ unit: 'binary' }), fc.double(), fc.integer(), fc.boolean(), fc.constant(null)],
    fc.constantFrom<unknown>(
      '\0',
      '\ud83d',
      'x\ude00',
      '😀',
      -0,
      undefined,
      2 ** 60,
      Number.MAX_VALUE,
      Number.MIN_VALUE,
    ),
  ],
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSparseArray: true,
  withTypedArray: true,
});

describe('What can be stored of a value', () => {
  it('is what JSON.stringify makes of it, if the service takes that, wherever the slices end', async () => {
    const seen = { stored: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(anything, fc.integer({ min: 1, max: 40 }), async (value, slice) => {
        const written = await storableJson(value, MAX_RESULT_JSON_BYTES, slice).catch((error: unknown) => error);
        if (isTaken(value) && !hasNoFinite(value)) {
          const json = JSON.stringify(value) as string | undefined;
          expect(written).toBe(json && withoutLineEnds(json));
          seen.stored += 1;
        } else {
          expect(written).toBeInstanceOf(NotStorable);
          seen.refused += 1;
        }
      }),
      { numRuns: 3_000 },
    );
    expect(seen.stored).toBeGreaterThan(500);
    expect(seen.refused).toBeGreaterThan(100);
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['a function', () => 1],
    [
      'members without a word in JSON',
      { a: undefined, b: () => 1, c: Symbol('c'), d: [undefined, () => 1, Symbol('c')], constructor: undefined },
    ],
    ['an instance of a class', [new Point()]],
    [
      'toJSON, which is given the name of the member',
      { a: { toJSON: (key: string) => ({ key }) }, b: [{ toJSON: (key: string) => key }] },
    ],
    ['a toJSON that gives nothing', { a: { toJSON: () => undefined }, b: 1 }],
    ['the same object twice', Array(2).fill({ a: [] })],
    ['names with escapes', { '"\n': '\u007f' }],
    ['raw JSON that is written as JSON.stringify would', [rawJSON('1.5'), rawJSON('"a"')]],
    ['as many levels as the service takes', nested(MAX_JSON_DEPTH - 1)],
  ])('is the same of %s', async (_, value) => {
    expect(isTaken(value)).toBe(true);
    expect(await storableJson(value, MAX_RESULT_JSON_BYTES, 1)).toBe(JSON.stringify(value));
    expect(smallStorableJson(value, MAX_RESULT_JSON_BYTES)).toBe(JSON.stringify(value));
  });

  it.each<[string, unknown, string]>([
    ['line ends of Unicode', { '\u2028': '\u2029\u0085' }, '{"\\u2028":"\\u2029\\u0085"}'],
    ['a bigint', { a: [9007199254740993n, -(2n ** 63n), 5n] }, '{"a":[9007199254740993,-9223372036854775808,5]}'],
    ['a raw integer that a double does not keep', [rawJSON('9007199254740993')], '[9007199254740993]'],
  ])('is, of %s, what no reader of it loses', async (_, value, json) => {
    expect(await storableJson(value, MAX_RESULT_JSON_BYTES, 1)).toBe(json);
    expect(smallStorableJson(value, MAX_RESULT_JSON_BYTES)).toBe(json);
  });

  it.each<[string, unknown, string]>([
    ['a cycle', cyclic, 'it contains itself'],
    ['a bigint beyond the range of a double', { a: 10n ** 309n }, 'a bigint in it is beyond the range of a double'],
    ['a BigInt in a box', { a: Object(1n) }, 'JSON.stringify fails on it'],
    ['U+0000', { a: ['x\0'] }, 'a string in it has U+0000'],
    ['half a character', ['x\ud83d'], 'a string in it has half a character'],
    ['U+0000 in a box', [Object('x\0')], 'a string in it has U+0000'],
    ['half a character in a name', { '\ude00': 1 }, 'the name of a member has half a character'],
    ['a member constructor', { constructor: 'x' }, 'the name of a member is constructor'],
    ['a member __proto__', JSON.parse('{"__proto__":1}'), 'the name of a member is __proto__'],
    ['NaN', { a: Number.NaN }, 'a number in it is not finite'],
    ['Infinity in a box', [Object(Number.POSITIVE_INFINITY)], 'a number in it is not finite'],
    ['a raw number that no reader keeps', [rawJSON('9007199254740993.5')], 'a raw number in it would change'],
    ['a raw integer beyond doubles', [rawJSON(`1${'0'.repeat(309)}`)], 'a raw number in it would change'],
    ['one level more', nested(MAX_JSON_DEPTH), `it is nested deeper than ${MAX_DEPTH}`],
    [
      'a toJSON that throws',
      {
        toJSON: () => {
          throw new Error('a secret');
        },
      },
      'JSON.stringify fails on it',
    ],
    [
      'a getter that throws',
      {
        get a(): never {
          throw new Error('a secret');
        },
      },
      'JSON.stringify fails on it',
    ],
  ])('is nothing of %s', async (_, value, why) => {
    await expect(storableJson(value, MAX_RESULT_JSON_BYTES)).rejects.toMatchObject({
      constructor: NotStorable,
      message: why,
    });
    expect(() => smallStorableJson(value, MAX_RESULT_JSON_BYTES)).toThrow(why);
  });

  it('is nothing above the limit, also of a value that would never end', async () => {
    let doubled: unknown = 'x';
    for (let level = 0; level < 30; level += 1) doubled = [doubled, doubled];
    await expect(storableJson(doubled, 10_000)).rejects.toThrow(TooLarge);
    expect(await storableJson('ä'.repeat(10), 22)).toBe(`"${'ä'.repeat(10)}"`);
    await expect(storableJson('ä'.repeat(10), 21)).rejects.toThrow(TooLarge);
  });
});
