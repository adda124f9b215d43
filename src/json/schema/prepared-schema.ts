import type { JsonObject, JsonValue } from '../strict-json.js';
import { isLinear, matches, PATTERN, PATTERN_LIMITS } from './linear-pattern.js';

/** A schema that the service does not take. */
export class SchemaInvalid extends Error {
  override readonly name = 'SchemaInvalid';
  constructor(
    /** A JSON Pointer into the schema. */
    readonly path: string,
    readonly problem: string,
  ) {
    super(`${path} ${problem}`);
  }
}

/** What follows a keyword. Others are annotations, and are dropped: `format` is one, as in JSON Schema 2020-12 by default. */
const KEYWORDS: Readonly<Record<string, (value: JsonValue, path: string, to: Preparing) => unknown>> = {
  ...all(['allOf', 'anyOf', 'oneOf', 'prefixItems'], (value, path, to) =>
    list(value, path).map((one, i) => to.schema(one, `${path}/${i}`)),
  ),
  ...all(['$defs', 'definitions', 'properties', 'dependentSchemas'], (value, path, to) => to.map(value, path)),
  ...all(
    [
      'not',
      'if',
      'then',
      'else',
      'items',
      'contains',
      'additionalProperties',
      'propertyNames',
      'unevaluatedItems',
      'unevaluatedProperties',
    ],
    (value, path, to) => to.schema(value, path),
  ),
  ...all(
    [
      'minimum',
      'maximum',
      'exclusiveMinimum',
      'exclusiveMaximum',
      'multipleOf',
      'minLength',
      'maxLength',
      'minItems',
      'maxItems',
      'minContains',
      'maxContains',
      'minProperties',
      'maxProperties',
    ],
    (value, path) => demand(typeof value === 'number', value, path, 'must be a number'),
  ),
  required: (value, path) => texts(value, path),
  type: (value, path) => (typeof value === 'string' ? value : texts(value, path)),
  enum: (value, path) => list(value, path),
  const: (value) => value,
  uniqueItems: (value, path) => demand(typeof value === 'boolean', value, path, 'must be true or false'),
  dependentRequired: (value, path) =>
    Object.fromEntries(Object.entries(object(value, path)).map(([name, names]) => [name, texts(names, path)])),
  $ref: (value, path) =>
    demand(
      typeof value === 'string' && value.startsWith('#'),
      value,
      path,
      'must begin with #: it refers to this schema alone',
    ),
};
/** Names and anchors make a reference ambiguous, or remote. */
const REFUSED = [
  '$id',
  'id',
  '$anchor',
  '$dynamicRef',
  '$dynamicAnchor',
  '$recursiveRef',
  '$recursiveAnchor',
  '$vocabulary',
];

/** Each costs time before the first text is matched. */
const MAX_PATTERNS = 12;

/** What a schema is prepared for: the names in the value. `looked` is called before each look at a part of the schema. */
export interface Purpose {
  readonly names: ReadonlySet<string>;
  readonly looked: (part: JsonObject) => void;
}

interface Preparing {
  schema(value: JsonValue, path: string): unknown;
  map(value: JsonValue, path: string): unknown;
}

/**
 * A copy of the schema in which no pattern is left to the engine of JavaScript, which may need exponential time. `pattern` becomes a
 * format of the linear engine. `patternProperties` becomes the names, of those in the value, that match.
 * @returns the copy, and its parts that refer to others
 * @throws SchemaInvalid
 */
export function prepared(
  schema: JsonValue,
  { names, looked }: Purpose,
): { readonly made: object | boolean; readonly referring: readonly object[] } {
  const referring: object[] = [];
  let patterns = 0;
  const linear = (pattern: JsonValue, path: string): string => {
    patterns += 1;
    if (patterns > MAX_PATTERNS) throw new SchemaInvalid(path, `is one pattern more than ${MAX_PATTERNS}`);
    if (typeof pattern !== 'string' || !isLinear(pattern))
      throw new SchemaInvalid(path, `must be a regular expression of RE2, ${PATTERN_LIMITS}`);
    return pattern;
  };
  const to: Preparing = {
    map: (value, path) =>
      Object.fromEntries(
        Object.entries(object(value, path)).map(([name, one]) => [name, to.schema(one, `${path}/${name}`)]),
      ),
    schema(value, path) {
      if (typeof value === 'boolean') return value;
      const part = object(value, path);
      const made: Record<string, unknown> = {};
      for (const [keyword, given] of Object.entries(part)) {
        if (REFUSED.includes(keyword)) throw new SchemaInvalid(`${path}/${keyword}`, 'is not taken');
        const prepare = Object.hasOwn(KEYWORDS, keyword) ? KEYWORDS[keyword] : undefined;
        if (prepare) made[keyword] = prepare(given, `${path}/${keyword}`, to);
      }
      if (made['$ref'] !== undefined) referring.push(made);
      const { pattern, patternProperties } = part;
      if (pattern !== undefined) made['format'] = PATTERN + linear(pattern, `${path}/pattern`);
      if (patternProperties !== undefined)
        made['patternProperties'] = matching(object(patternProperties, path), `${path}/patternProperties`);
      // The validator reads this member of each part that it looks at.
      Object.defineProperty(made, '__absolute_recursive_ref__', { get: () => looked(part) });
      return made;
    },
  };
  function matching(given: JsonObject, path: string): object {
    const byName = new Map<string, unknown[]>();
    for (const [pattern, one] of Object.entries(given)) {
      linear(pattern, `${path}/${pattern}`);
      const schema = to.schema(one, `${path}/${pattern}`);
      for (const name of names) if (matches(pattern, name)) byName.set(name, [...(byName.get(name) ?? []), schema]);
    }
    return Object.fromEntries([...byName].map(([name, schemas]) => [`^${escaped(name)}$`, { allOf: schemas }]));
  }
  return { made: to.schema(schema, '') as object | boolean, referring };
}

const escaped = (name: string) =>
  name.replace(/[\\^$.*+?()[\]{}|/-]/g, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);

function all<T>(names: readonly string[], value: T): Record<string, T> {
  return Object.fromEntries(names.map((name) => [name, value]));
}

function demand(holds: boolean, value: JsonValue, path: string, problem: string): JsonValue {
  if (!holds) throw new SchemaInvalid(path, problem);
  return value;
}

function object(value: JsonValue, path: string): JsonObject {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return demand(isObject, value, path, 'must be an object') as JsonObject;
}

function list(value: JsonValue, path: string): readonly JsonValue[] {
  return demand(Array.isArray(value), value, path, 'must be a list') as readonly JsonValue[];
}

function texts(value: JsonValue, path: string): readonly JsonValue[] {
  const given = list(value, path);
  demand(
    given.every((one) => typeof one === 'string'),
    value,
    path,
    'must be a list of strings',
  );
  return given;
}
