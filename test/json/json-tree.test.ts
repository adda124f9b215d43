import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { JsonText } from '../../src/json/json-text.js';
import { treeOf } from '../../src/json/json-tree.js';
import { jsonValue } from '../support/json-value.js';

describe('a tree that is parsed in slices', () => {
  it('is what JSON.parse makes of the text, wherever the slices end', async () => {
    await fc.assert(
      fc.asyncProperty(jsonValue(), fc.integer({ min: 1, max: 40 }), async (value, slice) => {
        const json = JSON.stringify(value);
        expect(JSON.stringify(await treeOf(new JsonText(json), slice))).toBe(json);
      }),
      { numRuns: 2_000 },
    );
  });
});
