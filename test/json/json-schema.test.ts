import { describe, expect, it } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { problemsIn, schemaProblem } from '../../src/json/schema/json-schema.js';
import type { JsonValue } from '../../src/json/strict-json.js';

const SCHEMA: JsonValue = {
  type: 'object',
  required: ['amount', 'to'],
  properties: {
    amount: { type: 'integer', minimum: 1, maximum: 100 },
    to: { type: 'array', minItems: 1, uniqueItems: true, items: { $ref: '#/$defs/address' } },
    kind: { enum: ['now', 'later'] },
    more: { anyOf: [{ type: 'null' }, { type: 'object', patternProperties: { '^x-': { type: 'number' } } }] },
  },
  additionalProperties: false,
  $defs: { address: { type: 'string', pattern: '^[a-z]+@[a-z.]+$', maxLength: 50 } },
};

describe('A value that a schema judges', () => {
  it.each<[string, JsonValue, readonly string[]]>([
    ['fits', { amount: 5, to: ['a@b.c'], kind: 'now', more: { 'x-a': 1, other: 'x' } }, []],
    ['lacks a member', { to: ['a@b.c'] }, ['payload']],
    ['has a wrong member', { amount: 'five', to: ['a@b.c'] }, ['payload.amount']],
    ['has a wrong item', { amount: 1, to: ['a@b.c', 'nobody'] }, ['payload.to[1]']],
    ['has a member too many', { amount: 1, to: ['a@b.c'], extra: 1 }, ['payload.extra']],
    ['has two equal items', { amount: 1, to: ['a@b.c', 'a@b.c'] }, ['payload.to']],
    ['breaks a schema of names', { amount: 1, to: ['a@b.c'], more: { 'x-a': 'one' } }, ['payload.more']],
  ])('%s, and the answer says where', (_, value, paths) => {
    const problems = problemsIn(SCHEMA, value, 'payload');
    expect(problems.map(({ path }) => path)).toEqual(expect.arrayContaining([...paths]));
    expect(problems.length > 0).toBe(paths.length > 0);
    expect(new Ajv2020({ strict: false }).validate(SCHEMA as object, value)).toBe(paths.length === 0);
  });
});

describe('A schema that the service does not take', () => {
  it.each<[string, JsonValue, string]>([
    ['refers to another document', { $ref: 'https://example.com/schema' }, '/$ref'],
    ['refers to nothing', { $ref: '#/$defs/none' }, ''],
    ['names itself', { $id: 'https://example.com/me', type: 'object' }, '/$id'],
    ['has a list where a schema belongs', { not: [] }, '/not'],
    ['has a pattern that no linear engine knows', { pattern: '(a)\\1' }, '/pattern'],
    ['has a pattern with too many repetitions', { pattern: '((a{10}){10}){10}' }, '/pattern'],
    ['is no object', 'object', ''],
    ['is large', { enum: Array.from({ length: 5_000 }, (_, i) => `value ${i}`) }, ''],
    [
      'has many patterns',
      { anyOf: Array.from({ length: 13 }, (_, i) => ({ pattern: `^a{${i}}` })) },
      '/anyOf/12/pattern',
    ],
  ])('%s, and the answer says where', (_, schema, path) => {
    expect(schemaProblem(schema)).toEqual({ path, message: expect.any(String) });
  });

  it('is not one that it takes', () => {
    expect(schemaProblem(SCHEMA)).toBeUndefined();
  });
});

describe('A hostile schema costs its own request less than 50 ms', () => {
  const doubling = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [
      `s${i}`,
      { allOf: [{ $ref: `#/$defs/s${i + 1}` }, { $ref: `#/$defs/s${i + 1}` }] },
    ]),
  );
  const long = 'a'.repeat(60_000);
  it.each<[string, JsonValue, JsonValue]>([
    ['a catastrophic pattern', { pattern: '^(a+)+$' }, `${'a'.repeat(900)}!`],
    [
      'a catastrophic pattern and many texts',
      { items: { pattern: '(a|a)*b' } },
      Array.from({ length: 60 }, () => 'a'.repeat(900)),
    ],
    ['many quantifiers', { pattern: 'a*'.repeat(100) }, 'a'.repeat(1_000)],
    ['a pattern and a long text', { pattern: '^(a+)+$' }, long],
    [
      'names that are patterns',
      { patternProperties: { '^(a+)+$': true } },
      Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`${'a'.repeat(900)}${i}`, 1])),
    ],
    ['references that double', { $ref: '#/$defs/s0', $defs: { ...doubling, s40: { type: 'string' } } }, 1],
    ['a reference to itself', { $ref: '#' }, {}],
    [
      'a deep nest of references',
      { $ref: '#/$defs/a', $defs: { a: { items: { $ref: '#/$defs/a' } } } },
      JSON.parse(`${'['.repeat(30)}${']'.repeat(30)}`) as JsonValue,
    ],
    [
      'a huge enum',
      { items: { enum: Array.from({ length: 2_000 }, (_, i) => i) } },
      Array.from({ length: 20_000 }, () => -1),
    ],
    ['unique items', { uniqueItems: true }, Array.from({ length: 20_000 }, (_, i) => i)],
    ['a mebibyte', { type: 'object' }, { text: 'x'.repeat(1_048_000) }],
    [
      'many parts for many members',
      { allOf: Array.from({ length: 200 }, () => ({ additionalProperties: { type: 'number' } })) },
      Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`m${i}`, 1])),
    ],
    ['lengths of a long text', { allOf: Array.from({ length: 700 }, () => ({ minLength: 1 })) }, long],
  ])('%s', (_, schema, value) => {
    // What is measured is the judgement, and not the first run of its code.
    problemsIn(SCHEMA, { amount: 1, to: ['a@b.c'] }, '');
    const begun = performance.now();
    expect(schemaProblem(schema)).toBeUndefined();
    problemsIn(schema, value, 'payload');
    expect(performance.now() - begun).toBeLessThan(50);
  });
});
