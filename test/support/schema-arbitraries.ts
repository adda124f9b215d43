import fc from 'fast-check';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { CLIENT_REQUEST_ID, clientRequestIdFrom } from '#protocol/ids.js';

const isClientRequestId = new Ajv2020().compile(CLIENT_REQUEST_ID);

/**
 * Whether the schema of a `clientRequestId` and the service judge this body's alike. JSON Schema has no word for printable, nor for
 * the normal form.
 */
export function hasDescribedId(body: unknown): boolean {
  const id = (body as { clientRequestId?: unknown } | null)?.clientRequestId;
  return typeof id !== 'string' || isClientRequestId(id) === (clientRequestIdFrom(id) !== undefined);
}

/** The parts of JSON Schema that the description of the API uses. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly pattern?: string;
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** Values that come true more often than chance has it, by the name of the member: ids that exist, and the like. */
export type Known = Readonly<Record<string, fc.Arbitrary<unknown>>>;

const JSON_VALUE = fc.jsonValue({ maxDepth: 3 });
const OBJECT = fc.dictionary(fc.string({ maxLength: 12 }), JSON_VALUE, { maxKeys: 4 });
const TEXT = fc.string({ unit: 'grapheme', maxLength: 24 });

/** Values that the schema allows. A member of a known name is now and then absent or of another value, unless `surelyKnown`. */
export function valid(
  schema: Schema,
  schemas: Readonly<Record<string, Schema>>,
  known: Known,
  surelyKnown = false,
): fc.Arbitrary<unknown> {
  const { $ref, allOf, oneOf, properties, required = [] } = schema;
  const next = (one: Schema) => valid(one, schemas, known, surelyKnown);
  if ($ref !== undefined) return next(schemas[$ref.split('/').at(-1) ?? ''] as Schema);
  if (allOf !== undefined)
    return fc.tuple(...allOf.map(next)).map((parts) => Object.assign({}, ...(parts as object[])) as object);
  if (oneOf !== undefined) return fc.oneof(...oneOf.map(next));
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (properties !== undefined) {
    const members = Object.entries(properties).map(([name, one]) => {
      const usual = known[name];
      if (usual === undefined) return [name, next(one)] as const;
      return [name, surelyKnown ? usual : fc.oneof({ weight: 4, arbitrary: usual }, next(one))] as const;
    });
    const always = surelyKnown ? Object.keys(properties).filter((name) => name in known) : [];
    return fc.record(Object.fromEntries(members), { requiredKeys: [...required, ...always] });
  }
  const type = Array.isArray(schema.type) ? (schema.type as string[]) : [schema.type as string | undefined];
  return fc.oneof(...type.map((one) => ofType(one, schema, next)));
}

function ofType(
  type: string | undefined,
  schema: Schema,
  next: (one: Schema) => fc.Arbitrary<unknown>,
): fc.Arbitrary<unknown> {
  const { minimum = -(2 ** 31), maximum = 2 ** 31 } = schema;
  switch (type) {
    case 'object':
      return OBJECT;
    case 'array':
      return fc.array(next(schema.items ?? {}), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? 5, 5),
      });
    case 'integer':
      return fc.integer({ min: minimum, max: maximum });
    case 'number':
      return fc.oneof(
        fc.integer({ min: minimum, max: maximum }),
        fc.double({ min: minimum, max: maximum, noNaN: true }),
      );
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'string':
      return ofText(schema);
    default:
      return JSON_VALUE;
  }
}

function ofText({ pattern, format, minLength = 0, maxLength = 300 }: Schema): fc.Arbitrary<string> {
  if (format === 'date-time')
    return fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }).map((date) => date.toISOString());
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern)).filter((text) => text.length <= maxLength);
  return fc.string({ unit: 'grapheme', minLength, maxLength: Math.min(maxLength, 40) });
}

const EXTREMES: readonly unknown[] = [
  null,
  '',
  ' ',
  '0',
  '-1',
  '1e3',
  'NaN',
  '\u0000',
  '\ud800',
  '\u202e',
  'a'.repeat(70_000),
  '../..',
  "'; --",
  '%',
  '💥',
  0,
  -0,
  -1,
  0.1,
  2 ** 31,
  2 ** 53 + 1,
  1e308,
  5e-324,
  true,
  [],
  {},
  [[[[]]]],
  JSON.parse('{"__proto__":1}'),
  { constructor: 1 },
  new Array(600).fill('x'),
];

/** What the schema may not allow: one member missing, more than known, of another type or out of all bounds. */
export function mutated(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const extreme = fc.oneof(fc.constantFrom(...EXTREMES), JSON_VALUE);
  const change = fc.record({ at: fc.nat(), to: extreme, how: fc.constantFrom('drop', 'set', 'add', 'whole') });
  return fc.tuple(value, change, TEXT).map(([original, { at, to, how }, name]) => {
    if (how === 'whole' || typeof original !== 'object' || original === null) return to;
    const keys = Object.keys(original);
    const key = how === 'add' ? name : (keys[at % Math.max(1, keys.length)] ?? name);
    const rest = Object.entries(original).filter(([other]) => other !== key);
    return Object.fromEntries(how === 'drop' ? rest : [...rest, [key, to]]);
  });
}

export const anyText = fc.oneof(
  TEXT,
  fc.constantFrom(...EXTREMES).map((value) => String(value).slice(0, 2_000)),
);

/** Checks `format: date-time` by RFC 3339: the day is also one of its month. */
export function isDateTime(text: string): boolean {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text)) return false;
  const day = text.slice(0, 'yyyy-mm-dd'.length);
  const at = Date.parse(day);
  return !Number.isNaN(at) && new Date(at).toISOString().startsWith(day);
}
