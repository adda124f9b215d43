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
    ['a long list of unique numbers', { uniqueItems: true, maxItems: 500 }, numbers],
    [
      'unique objects that differ at their end',
      { uniqueItems: true, maxItems: 500 },
      numbers.slice(0, 400).map((n) => [...numbers.slice(0, 300), n]),
    ],
    ['20 000 wrong values', { items: { type: 'string' } }, numbers.slice(0, 20_000)],
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

  it('takes lists of unique elements up to 500, in several places', () => {
    const tags = { uniqueItems: true, maxItems: 500 };
    const schema = { properties: Object.fromEntries(['a', 'b', 'c', 'd'].map((name) => [name, tags])) };
    for (const list of [[], [1, 2], numbers.slice(0, 499), numbers.slice(0, 500).map((n) => `tag ${n}`)])
      expect(errorsOf(schema, { a: list, b: list, c: list, d: list })).toEqual([]);
    const rows = numbers.slice(0, 300).map((n) => ({ id: n, name: 'x', at: [n] }));
    expect(errorsOf(schema, { a: rows })).toEqual([]);
    for (const twice of [
      [1, 1],
      [...numbers.slice(0, 499), 7],
      [...rows, rows[3]],
    ])
      expect(errorsOf(schema, { a: twice })).toEqual([{ path: 'a', message: 'must not have two equal elements' }]);
    const long = [...numbers.slice(0, 500), 7];
    expect(errorsOf(schema, { a: long })).toEqual([{ path: 'a', message: 'must have at most 500 elements' }]);
  });

  it('names up to 20 wrong places', () => {
    const properties = Object.fromEntries(numbers.slice(0, 150).map((n) => [`k${n}`, { type: 'integer' }]));
    const wrong = Object.fromEntries(Object.keys(properties).map((name) => [name, 'text']));
    expect(errorsOf({ properties }, wrong)).toEqual(
      Object.keys(properties)
        .slice(0, 20)
        .map((path) => ({ path, message: 'must be of type integer' })),
    );
  });

  it.each<[string, object, unknown, ...(readonly [string, string])[]]>([
    ['type', { type: ['string', 'null'] }, 1, ['', 'must be of type string or null']],
    ['const', { const: { a: 1 } }, 1, ['', 'must be {"a":1}']],
    ['enum', { enum: ['a', 1, null] }, 'b', ['', 'must be one of "a", 1, null']],
    ['not', { not: { type: 'string' } }, 'b', ['', 'must not be as `not` says']],
    ['anyOf', { anyOf: [false] }, 'b', ['', 'must be as one of `anyOf` says']],
    ['oneOf', { oneOf: [true, true] }, 'b', ['', 'must be as exactly one of `oneOf` says']],
    ['contains', { contains: { const: 1 } }, [], ['', 'must have an element as `contains` says']],
    [
      'required',
      { properties: { a: { required: ['b', 'c'] } } },
      { a: {} },
      ['a.b', 'is required'],
      ['a.c', 'is required'],
    ],
    ['dependentRequired', { dependentRequired: { a: ['b'] } }, { a: 1 }, ['b', 'is required']],
    ['minProperties', { minProperties: 1 }, {}, ['', 'must have at least 1 member']],
    ['maxProperties', { maxProperties: 0 }, { a: 1 }, ['', 'must have at most 0 members']],
    ['minItems', { minItems: 2 }, [], ['', 'must have at least 2 elements']],
    ['minLength', { minLength: 2 }, '', ['', 'must have at least 2 characters']],
    ['maxLength', { maxLength: 1 }, 'ab', ['', 'must have at most 1 character']],
    ['minimum', { minimum: 2 }, 1, ['', 'must be at least 2']],
    ['maximum', { maximum: 2 }, 3, ['', 'must be at most 2']],
    ['exclusiveMinimum', { exclusiveMinimum: 2 }, 2, ['', 'must be greater than 2']],
    ['exclusiveMaximum', { exclusiveMaximum: 2 }, 2, ['', 'must be less than 2']],
    ['multipleOf', { multipleOf: 2 }, 3, ['', 'must be a multiple of 2']],
    ['then', { if: true, then: { type: 'string' } }, 3, ['', 'must be of type string']],
    ['propertyNames', { propertyNames: { maxLength: 1 } }, { ab: 1 }, ['ab', 'must have at most 1 character']],
    [
      'a reference',
      { $defs: { 'ä/~ b%': { maximum: 1 } }, $ref: '#/$defs/%C3%A4~1~0%20b%25' },
      2,
      ['', 'must be at most 1'],
    ],
    ['prefixItems', { prefixItems: [{ type: 'string' }], items: false }, [1], ['0', 'must be of type string']],
    ['items', { prefixItems: [{ type: 'string' }], items: false }, ['a', 1], ['1', 'is not a known member']],
    ['unevaluatedProperties', { unevaluatedProperties: false }, { a: 1 }, ['a', 'is not a known member']],
  ])('says in plain words what is wrong: %s', (_, schema, value, ...expected) => {
    expect(errorsOf(schema, value)).toEqual(expected.map(([path, message]) => ({ path, message })));
  });

  it('shows a part of a large schema', () => {
    const [error] = errorsOf({ enum: numbers.slice(0, 9_000) }, 'x');
    expect(error?.message.length).toBeLessThan(300);
  });

  it.each([
    ['(a{1,1000}){1,1000}', 'expression too large'],
    ['(?=a)', 'invalid or unsupported Perl syntax: `(?=`'],
  ])('says why it is refused: %s', (pattern, reason) => {
    expect(() => errorsOf({ pattern }, '')).toThrow(`is no regular expression of RE2, or is too large: ${reason}`);
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
        fc.record({ uniqueItems: fc.constant(true), maxItems: fc.nat(3) }),
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
