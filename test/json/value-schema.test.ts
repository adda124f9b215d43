import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { ValueSchema } from '../../src/json/schema/value-schema.js';

const errorsOf = (schema: object, value: unknown) => new ValueSchema(schema as never).errorsOf(value);
const numbers = Array.from({ length: 100_000 }, (_, n) => n);
const nested = (text: string, depth: number, inner: string) =>
  JSON.parse(`${text.repeat(depth)}${inner}${'}'.repeat(depth)}`) as unknown;

describe('A hostile schema or value', () => {
  const again = { properties: { a: { $ref: '#' } }, required: ['z'] };
  it.each<[string, object, unknown]>([
    ['a schema that is itself', { $ref: '#' }, 1],
    ['references that double with each level', { anyOf: [again, again] }, nested('{"a":', 60, '1')],
    ['a catastrophic pattern, and 1 MiB', { pattern: '^(a+)+$' }, `${'a'.repeat(1_000_000)}b`],
    ['a large pattern, and 1 MiB', { pattern: '([a-z]{1,20}[0-9]{1,20}){1,20}$' }, 'a'.repeat(1_000_000)],
    ['a huge enum for many values', { items: { enum: numbers.slice(0, 8_000).map(String) } }, numbers.map(String)],
    ['100 000 values', { items: { type: 'integer' } }, numbers],
    [
      '100 000 members',
      { additionalProperties: { type: 'integer' } },
      Object.fromEntries(numbers.map((n) => [`k${n}`, n])),
    ],
    [
      'many alternatives for many values',
      { items: { oneOf: numbers.slice(0, 100).map((n) => ({ const: n })) } },
      numbers,
    ],
  ])('costs its own request below 50 ms: %s', (_, schema, value) => {
    const checked = new ValueSchema(schema as never);
    checked.errorsOf(value);
    // On a machine that does nothing else.
    const before = process.threadCpuUsage();
    const errors = checked.errorsOf(value);
    const { user, system } = process.threadCpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(50);
    expect(errors).not.toEqual([]);
  });
});

describe('A schema', () => {
  it('names where a value is wrong', () => {
    const schema = {
      $defs: { 'a/b': { type: 'string', pattern: '^[a-z]+$' } },
      properties: { list: { items: { $ref: '#/$defs/a~1b' } } },
      additionalProperties: false,
    };
    expect(errorsOf(schema, { list: ['a', 'B'] })).toEqual([{ path: 'list.1', message: 'must match ^[a-z]+$' }]);
    expect(errorsOf(schema, { other: 1 })).toEqual([{ path: 'other', message: 'is not a known member' }]);
    expect(errorsOf(schema, { list: ['a'] })).toEqual([]);
  });

  it('judges as another validator does', () => {
    const leaf = fc.oneof(
      fc.record({ type: fc.constantFrom('string', 'integer', 'number', 'boolean', 'null', 'array', 'object') }),
      fc.record({
        enum: fc
          .array(fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom('a', 'b')), { minLength: 1 })
          .map((all) => [...new Set(all)]),
      }),
      fc.record({ minimum: fc.integer({ min: 0, max: 2 }), maximum: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ minLength: fc.nat(2), pattern: fc.constantFrom('^a', 'b$', '[ab]{2}') }),
    );
    const { schema } = fc.letrec<{ schema: object }>((tie) => ({
      schema: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.record({
          properties: fc.dictionary(fc.constantFrom('a', 'b'), tie('schema')),
          required: fc.uniqueArray(fc.constantFrom('a', 'b')),
        }),
        fc.record({ items: tie('schema'), minItems: fc.nat(2) }),
        fc.record({ prefixItems: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }), items: tie('schema') }),
        fc.record({ anyOf: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }) }),
        fc.record({ allOf: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }), pattern: fc.constant('a') }),
        fc.record({ oneOf: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }) }),
        fc.record({ not: tie('schema') }),
        fc.record({ if: tie('schema'), then: tie('schema'), else: tie('schema') }),
        fc.record({ additionalProperties: tie('schema') }),
      ),
    }));
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom('', 'a', 'ab', 'b', 'bb', null, true, 0, 1, 2, 3, 1.5),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('value')),
      ),
    }));
    const other = new Ajv2020({ strict: false });
    fc.assert(
      fc.property(schema, value, (given, sent) => {
        expect(errorsOf(given, sent).length === 0).toBe(other.validate(given, sent));
      }),
      { numRuns: 500 },
    );
  });
});
