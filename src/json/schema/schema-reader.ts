import type { Schema } from '@cfworker/json-schema';
import { RE2JS } from 're2js';
import type { JsonObject } from '#protocol/json-schema.js';
import { LIST_LENGTHS, MAX_UNIQUE_ITEMS } from './list-comparisons.js';

/** Deeper schemas help nobody, and each level is a call. */
const MAX_DEPTH = 64;
/** Compiling takes time, by the size of what is made: all patterns of a schema together. */
const MAX_PATTERNS = 50;
const MAX_PATTERN_SIZE = 2_000;
const MAX_PATTERN_LENGTH = 1_000;
/** 20 comparisons with parts of the schema cost as much as one schema. */
const PARTS_OF_A_STEP = 20;

const TYPES = ['array', 'boolean', 'integer', 'null', 'number', 'object', 'string'];

/** What stands at a keyword. Keywords that are not here say nothing about a value, or are refused. */
const KINDS: Readonly<Record<string, string>> = {
  ...of('schema', 'additionalProperties', 'contains', 'else', 'if', 'items', 'not', 'propertyNames', 'then'),
  ...of('schema', 'unevaluatedItems', 'unevaluatedProperties'),
  ...of('schemas', 'allOf', 'anyOf', 'oneOf', 'prefixItems'),
  ...of('named schemas', '$defs', 'definitions', 'dependentSchemas', 'properties'),
  ...of(
    'count',
    'maxContains',
    'maxItems',
    'maxLength',
    'maxProperties',
    'minContains',
    'minItems',
    'minLength',
    'minProperties',
  ),
  ...of('number', 'exclusiveMaximum', 'exclusiveMinimum', 'maximum', 'minimum'),
  ...of('divisor', 'multipleOf'),
  ...of('names', 'required'),
  ...of('named names', 'dependentRequired'),
  ...of('values', 'enum'),
  ...of('value', 'const'),
  ...of('type', 'type'),
  ...of('reference', '$ref'),
  ...of('pattern', 'pattern'),
  ...of('flag', 'uniqueItems'),
};
const ANNOTATIONS = new Set([
  ...[
    '$comment',
    '$schema',
    'contentEncoding',
    'contentMediaType',
    'default',
    'deprecated',
    'description',
    'examples',
    'format',
  ],
  ...['readOnly', 'title', 'writeOnly'],
]);
const DIALECTS = new Set([
  'https://json-schema.org/draft/2020-12/schema',
  'https://json-schema.org/draft/2020-12/schema#',
]);

function of(kind: string, ...keywords: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(keywords.map((keyword) => [keyword, kind]));
}

/** Why a schema is refused. `path` is like those of all refusals. */
export class SchemaProblem extends Error {
  constructor(
    readonly path: string,
    readonly problem: string,
  ) {
    super(`${path} ${problem}`);
  }
}

export interface ReadSchema {
  readonly schema: Schema;
  readonly patterns: ReadonlyMap<string, RE2JS>;
  /** Whether a check compares the elements of lists. */
  readonly comparesLists: boolean;
}

/** Makes of a schema that was sent one that the library may interpret: known keywords, local references, bounded costs. */
export class SchemaReader {
  readonly #patterns = new Map<string, RE2JS>();
  readonly #references: { readonly path: string; readonly to: string }[] = [];
  readonly #places = new Set<string>();
  #size = 0;
  #comparesLists = false;

  /**
   * `spend` is called with the cost of each step of a check. `spendOnList` is called before the elements of a list that has at most this
   * length are compared.
   */
  constructor(
    private readonly spend: (steps: number) => void,
    private readonly spendOnList: (length: number) => void,
  ) {}

  /** @throws SchemaProblem */
  read(sent: JsonObject): ReadSchema {
    const schema = this.schema(sent, '', '', 0) as Schema;
    for (const { path, to } of this.#references) {
      if (!this.#places.has(decodeURIComponent(to.slice(1))))
        throw new SchemaProblem(path, 'refers to no schema in this document');
    }
    return { schema, patterns: this.#patterns, comparesLists: this.#comparesLists };
  }

  private schema(sent: unknown, path: string, pointer: string, depth: number): Schema | boolean {
    this.#places.add(pointer);
    if (typeof sent === 'boolean') return sent;
    demand(isObject(sent), path, 'must be a schema');
    demand(depth <= MAX_DEPTH, path, `is deeper than ${MAX_DEPTH} schemas`);
    const schema: Record<string, unknown> = {};
    let reference: string | undefined;
    let cost = 1;
    const formats: { readonly format: string }[] = [];
    for (const [keyword, value] of Object.entries(sent as JsonObject)) {
      const at = path === '' ? keyword : `${path}.${keyword}`;
      if (keyword === '$schema') demand(DIALECTS.has(value as string), at, 'must be that of draft 2020-12');
      if (ANNOTATIONS.has(keyword)) continue;
      const kind = Object.hasOwn(KINDS, keyword) ? KINDS[keyword] : undefined;
      demand(kind !== undefined, at, 'is no keyword that the service knows');
      const inner = (part: unknown, step: string) =>
        this.schema(part, `${at}.${step}`, `${pointer}/${keyword}/${escaped(step)}`, depth + 1);
      switch (kind) {
        case 'schema':
          schema[keyword] = this.schema(value, at, `${pointer}/${keyword}`, depth + 1);
          break;
        case 'schemas':
          demand(Array.isArray(value) && value.length > 0, at, 'must be a list of schemas');
          schema[keyword] = (value as unknown[]).map((part, index) => inner(part, String(index)));
          break;
        case 'named schemas':
          demand(isObject(value), at, 'must be an object of schemas');
          schema[keyword] = Object.fromEntries(
            Object.entries(value as JsonObject).map(([name, part]) => [name, inner(part, name)]),
          );
          break;
        case 'reference':
          demand(
            typeof value === 'string' && /^#(\/|$)/.test(value) && isDecodable(value),
            at,
            'must be a pointer into this document: #/…',
          );
          reference = value as string;
          this.#references.push({ path: at, to: reference });
          break;
        case 'pattern':
          formats.push({ format: this.pattern(value, at) });
          break;
        default:
          demand(holds(kind as string, value), at, `must be ${FORMS[kind as string]}`);
          schema[keyword] = value;
      }
      cost += costOf(kind as string, value);
    }
    if (formats.length > 0) schema['allOf'] = [...((schema['allOf'] as unknown[] | undefined) ?? []), ...formats];
    if (schema['uniqueItems'] === true) {
      const most = schema['maxItems'] as number | undefined;
      const at = path === '' ? 'uniqueItems' : `${path}.uniqueItems`;
      demand(most !== undefined && most <= MAX_UNIQUE_ITEMS, at, `needs maxItems of at most ${MAX_UNIQUE_ITEMS}`);
      delete schema['uniqueItems'];
      schema['allOf'] = [...((schema['allOf'] as unknown[] | undefined) ?? []), this.unique(LIST_LENGTHS)];
    }
    return this.counted(schema, reference, () => this.spend(cost));
  }

  /** The library compares the elements of a list of any length, and says nothing before. So the length is asked first. */
  private unique([most, ...longer]: readonly number[]): Schema {
    if (most === undefined) return {};
    this.#comparesLists = true;
    return {
      if: { maxItems: most },
      then: this.counted({ uniqueItems: true }, undefined, () => this.spendOnList(most)),
      else: this.unique(longer),
    };
  }

  /** The library reads this member of a schema once for each value that it checks against it. */
  private counted(schema: Record<string, unknown>, reference: string | undefined, spend: () => void): Schema {
    return Object.defineProperty(schema, '$ref', {
      get: () => {
        spend();
        return reference;
      },
    });
  }

  /** @returns the name of the format that stands for it */
  private pattern(sent: unknown, path: string): string {
    demand(
      typeof sent === 'string' && sent.length <= MAX_PATTERN_LENGTH,
      path,
      `must be a text of at most ${MAX_PATTERN_LENGTH} characters`,
    );
    const source = sent as string;
    const name = `pattern ${source}`;
    if (this.#patterns.has(name)) return name;
    demand(this.#patterns.size < MAX_PATTERNS, path, `is beyond the ${MAX_PATTERNS} patterns that a schema may have`);
    let compiled: RE2JS;
    try {
      compiled = RE2JS.compile(RE2JS.translateRegExp(source));
    } catch (error) {
      throw new SchemaProblem(path, whyRefused(error));
    }
    this.#size += compiled.programSize();
    demand(this.#size <= MAX_PATTERN_SIZE, path, 'repeats too much, alone or with the patterns before it');
    this.#patterns.set(name, compiled);
    return name;
  }
}

function whyRefused(error: unknown): string {
  const reason = (error as Error).message.replace('error parsing regexp: ', '');
  return `is no regular expression of RE2, or is too large: ${reason}`;
}

const FORMS: Readonly<Record<string, string>> = {
  count: 'a whole number from 0',
  number: 'a number',
  divisor: 'a number above 0',
  names: 'a list of texts',
  'named names': 'an object of lists of texts',
  values: 'a list of values',
  value: 'a value',
  type: `one or more of ${TYPES.join(', ')}`,
  flag: 'true or false',
};

function holds(kind: string, value: unknown): boolean {
  switch (kind) {
    case 'count':
      return Number.isSafeInteger(value) && (value as number) >= 0;
    case 'number':
      return typeof value === 'number';
    case 'divisor':
      return typeof value === 'number' && value > 0;
    case 'names':
      return isNames(value);
    case 'named names':
      return isObject(value) && Object.values(value).every(isNames);
    case 'values':
      return Array.isArray(value);
    case 'type':
      return (Array.isArray(value) ? value : [value]).every((one) => TYPES.includes(one as string));
    case 'flag':
      return typeof value === 'boolean';
    default:
      return true;
  }
}

/** How many parts of the schema a check of one value may go through here. */
function costOf(kind: string, value: unknown): number {
  const isWalked = ['value', 'values', 'names', 'named names'].includes(kind);
  const parts = kind === 'named schemas' ? Object.keys(value as object).length : isWalked ? partsOf(value) : 0;
  return Math.floor(parts / PARTS_OF_A_STEP);
}

function partsOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce<number>((sum, part) => sum + partsOf(part), 1);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.every((name) => typeof name === 'string');
}

function isDecodable(reference: string): boolean {
  try {
    decodeURIComponent(reference);
    return true;
  } catch {
    return false;
  }
}

function escaped(step: string): string {
  return step.replaceAll('~', '~0').replaceAll('/', '~1');
}

function demand(holds: boolean, path: string, problem: string): void {
  if (!holds) throw new SchemaProblem(path, problem);
}
