import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { jsonOf } from '../src/http/json-writer.js';

class Point {
  readonly x = 1;
  readonly missing = undefined;
  get inherited(): string {
    return 'not written';
  }
}

const cyclic: unknown[] = [];
cyclic.push({ cyclic });

describe('JSON that is written in slices', () => {
  it('is what JSON.stringify makes of any value, wherever the slices end', async () => {
    const values = fc.anything({
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withObjectString: true,
      withSparseArray: true,
      withTypedArray: true,
    });
    await fc.assert(
      fc.asyncProperty(values, fc.integer({ min: 1, max: 40 }), async (value, slice) => {
        expect(await jsonOf(value, slice)).toBe(JSON.stringify(value));
      }),
      { numRuns: 2_000 },
    );
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['a function', () => 1],
    [
      'members without a word in JSON',
      { a: undefined, b: () => 1, c: Symbol('c'), d: [undefined, () => 1, Symbol('c')] },
    ],
    ['an instance of a class', [new Point()]],
    [
      'toJSON, which is given the name of the member',
      { a: { toJSON: (key: string) => ({ key }) }, b: [{ toJSON: (key: string) => key }] },
    ],
    ['a toJSON that gives nothing', { a: { toJSON: () => undefined }, b: 1 }],
    ['the same object twice', Array(2).fill({ a: [] })],
    ['names with escapes', { '"\n\ud800': '\ud800' }],
  ])('is the same of %s', async (_, value) => {
    expect(await jsonOf(value, 1)).toBe(JSON.stringify(value));
  });

  it.each<[string, unknown]>([
    ['a cycle', cyclic],
    ['a bigint', { a: 1n }],
  ])('fails with a TypeError for %s, as JSON.stringify does', async (_, value) => {
    expect(() => JSON.stringify(value)).toThrow(TypeError);
    await expect(jsonOf(value)).rejects.toThrow(TypeError);
  });
});
