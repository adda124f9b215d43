import { describe, expect, it } from '@jest/globals';
import { complaintsOf } from '../../.ci/words.js';

const words = (count: number) => Array.from({ length: count }, () => 'word').join(' ');

describe('npm run check:words', () => {
  it.each([
    ['a hidden subject', 'a.ts', '// Whoever asks.', /^a\.ts:1: "Whoever": /],
    ['a hidden number', 'a.ts', 'x;\n/** So many tasks. */', /^a\.ts:2: "So many": /],
    ['a hidden number in Python', 'a.py', '"""So many seconds."""', /^a\.py:1: "So many": /],
    ['a hidden number in a sentence', 'a.ts', '// It has not so many.', /^a\.ts:1: "so many": /],
    ['a phrase over two lines', 'a.ts', ' * The worker is\n * told.', /^a\.ts:1: "is told": /],
    ['a docstring without a subject', 'a.ts', '/** Of a claim. */', /^a\.ts:1: "\/\*\* Of a claim\. \*\/": /],
    ['a sentence of 26 words', 'a.md', `One.\n\n${words(26)}.`, /^a\.md:3: 26 words, at most 25: /],
    ['a long cell of a table', 'a.md', `| x | ${words(26)} |`, /^a\.md:1: 26 words, /],
  ])('names file and line of %s', (_what, file, text, complaint) => {
    expect(complaintsOf(file, text)).toEqual([expect.stringMatching(complaint)]);
  });

  it.each([
    ['sentences of 25 words', 'a.md', `${words(25)}. ${words(25)}.`],
    ['long code in a page', 'a.md', `\`\`\`\n${words(30)}\n\`\`\``],
    ['items of a list, each by itself', 'a.md', `- ${words(20)}\n- ${words(20)}`],
    ['a long line of code', 'a.ts', words(30)],
    ['a docstring with a subject', 'a.ts', '/** Tasks of a claim. */\n/** For a claim, the types that it names. */'],
    ['a plain comparison', 'a.ts', '// As many as it has.'],
  ])('says nothing of %s', (_what, file, text) => {
    expect(complaintsOf(file, text)).toEqual([]);
  });
});
