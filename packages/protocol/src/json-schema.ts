// The vocabulary of shapes. A shape is a JSON Schema that also has a TypeScript type, so the two cannot differ. Draft 7 and 2020-12 read
// these schemas alike.

declare const TYPE: unique symbol;

/** The keywords that the protocol uses. */
export interface JsonSchema {
  readonly $ref?: string;
  /** How people call such a value, as in "must be an event id". */
  readonly title?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  /** The media type of a file in a form. */
  readonly contentMediaType?: string;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: JsonSchema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  /** A schema: that of every member, whatever its name. */
  readonly additionalProperties?: boolean | JsonSchema;
  readonly oneOf?: readonly JsonSchema[];
  /** OpenAPI's own: which of `oneOf` it is. */
  readonly discriminator?: { readonly propertyName: string; readonly mapping: Readonly<Record<string, string>> };
}

/** A schema of values of type `T`. */
export type Shape<T> = JsonSchema & { readonly [TYPE]?: T };

/** A member that may be absent. It is never null. */
export interface Optional<T> {
  readonly optional: Shape<T>;
}

/** The members of an object, by name. */
export type Members = Readonly<Record<string, Shape<unknown> | Optional<unknown>>>;

/** The TypeScript type of a shape. */
export type TypeOf<S> = S extends { readonly [TYPE]?: infer T } ? T : never;

type OptionalNames<M extends Members> = { [N in keyof M]: M[N] extends Optional<unknown> ? N : never }[keyof M];
type Flat<T> = { [N in keyof T]: T[N] };

/** The TypeScript type of an object with these members. */
export type ObjectOf<M extends Members> = Flat<
  { readonly [N in Exclude<keyof M, OptionalNames<M>>]: TypeOf<M[N]> } & {
    readonly [N in OptionalNames<M>]?: (M[N] extends Optional<infer T> ? T : never) | undefined;
  }
>;

export type JsonObject = Readonly<Record<string, unknown>>;

export const text = (keywords: JsonSchema = {}): Shape<string> => ({ type: 'string', ...keywords });
export const boolean = (): Shape<boolean> => ({ type: 'boolean' });
export const number = (minimum: number, maximum: number): Shape<number> => ({ type: 'number', minimum, maximum });
export const integer = (minimum: number, maximum?: number): Shape<number> => ({
  type: 'integer',
  minimum,
  ...(maximum !== undefined && { maximum }),
});
export const timestamp = (): Shape<string> => ({ title: 'an RFC 3339 timestamp', type: 'string', format: 'date-time' });
/** Of a client: with seconds and an offset; without the leap second, and without offsets that no place on earth has. */
export const sentTimestamp = (): Shape<string> => ({
  ...timestamp(),
  pattern:
    '^([0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})-(0[1-9]|1[0-2])-([0-9]{2})T' +
    '([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])$',
});
export const anyObject = (): Shape<JsonObject> => ({ type: 'object', additionalProperties: true });
export const anyJson = (): Shape<unknown> => ({});

export const constant = <const T extends string | boolean>(value: T): Shape<T> => ({
  type: typeof value,
  const: value,
});

export const oneOf = <const T extends string>(...values: readonly T[]): Shape<T> => ({ type: 'string', enum: values });

export const list = <T>(items: Shape<T>, keywords: JsonSchema = {}): Shape<readonly T[]> => ({
  type: 'array',
  items,
  ...keywords,
});

export const nullable = <T>(shape: Shape<T>): Shape<T | null> => ({
  ...(shape as JsonSchema),
  type: [shape.type as string, 'null'],
});

export const optional = <T>(shape: Shape<T>): Optional<T> => ({ optional: shape });

/** One of several components, told apart by their member `type`. `nameOf` gives the component of a type. */
export function discriminated<T extends string>(
  types: readonly T[],
  nameOf: (type: T) => string,
): JsonSchema & Required<Pick<JsonSchema, 'oneOf' | 'discriminator'>> {
  const mapping = Object.fromEntries(types.map((type) => [type, component(nameOf(type))]));
  return {
    oneOf: Object.values(mapping).map(($ref) => ({ $ref })),
    discriminator: { propertyName: 'type', mapping },
  };
}

/** A schema of OpenAPI that stands under its name in the document. */
export const component = (name: string): string => `#/components/schemas/${name}`;
export const named = <T>(name: string): Shape<T> => ({ $ref: component(name) });

/** The same shape with a sentence about this use of it. */
export const described = <T>(description: string, shape: Shape<T>): Shape<T> => ({ ...shape, description });

/** An object with these members and no others. */
export function object<M extends Members>(members: M): Shape<ObjectOf<M>> {
  const entries = Object.entries(members);
  return {
    type: 'object',
    properties: Object.fromEntries(
      entries.map(([name, member]) => [name, 'optional' in member ? member.optional : member]),
    ),
    required: entries.filter(([, member]) => !('optional' in member)).map(([name]) => name),
    additionalProperties: false,
  };
}

/** An object whose members have names of the sender's choice, and one shape. */
export const record = <T>(shape: Shape<T>): Shape<Readonly<Record<string, T>>> => ({
  type: 'object',
  additionalProperties: shape,
});

/** The same for clients: they ignore members that they do not know, so members may be added. */
export function opened({ additionalProperties, items, properties, ...schema }: JsonSchema): JsonSchema {
  return {
    ...schema,
    ...(additionalProperties === true && { additionalProperties }),
    ...(typeof additionalProperties === 'object' && { additionalProperties: opened(additionalProperties) }),
    ...(items && { items: opened(items) }),
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([name, member]) => [name, opened(member)])),
    }),
  };
}

/** Why a value does not fit a schema. */
export interface Problem {
  /** Such as `details.level`; empty for the value itself. */
  readonly path: string;
  /** What follows the path, such as `must be a string`. */
  readonly problem: string;
}

const LONGEST_NAME = 64;

/**
 * The first thing about the value that the schema does not allow. A member that is `undefined` counts as absent. Every appended event passes
 * here, so it makes nothing until it has found a problem.
 */
export function problemIn(schema: JsonSchema, value: unknown): Problem | undefined {
  if (!fits(schema, value)) return { path: '', problem: `must be ${expected(schema)}` };
  if (typeof schema.additionalProperties === 'object')
    return problemInRecord(schema.additionalProperties, value as JsonObject);
  if (schema.properties !== undefined) return problemInMembers(schema, schema.properties, value as JsonObject);
  return schema.items !== undefined && Array.isArray(value) ? problemInElements(schema.items, value) : undefined;
}

function problemInMembers(
  { required = [], additionalProperties }: JsonSchema,
  properties: Readonly<Record<string, JsonSchema>>,
  members: JsonObject,
): Problem | undefined {
  if (additionalProperties === false) {
    for (const name of Object.keys(members)) {
      if (!Object.hasOwn(properties, name))
        return { path: name.slice(0, LONGEST_NAME), problem: 'is not a known member' };
    }
  }
  for (const name in properties) {
    if (members[name] === undefined && !required.includes(name)) continue;
    const problem = problemIn(properties[name] ?? {}, members[name]);
    if (problem) return within(name, problem);
  }
  return undefined;
}

function problemInRecord(shape: JsonSchema, members: JsonObject): Problem | undefined {
  for (const [name, member] of Object.entries(members)) {
    const problem = problemIn(shape, member);
    if (problem) return within(name.slice(0, LONGEST_NAME), problem);
  }
  return undefined;
}

function problemInElements(items: JsonSchema, elements: readonly unknown[]): Problem | undefined {
  for (const [at, element] of elements.entries()) {
    const problem = problemIn(items, element);
    if (problem) return within(`[${at}]`, problem);
  }
  return undefined;
}

function within(parent: string, { path, problem }: Problem): Problem {
  return { path: path === '' || path.startsWith('[') ? parent + path : `${parent}.${path}`, problem };
}

/** In words, such as "info, warning or debug". */
export function expected(schema: JsonSchema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return listed(schema.enum.map(String));
  if (schema.type === undefined) return 'any JSON';
  return listed([schema.type].flat().map((type) => expectedOfType(type, schema)));
}

function expectedOfType(type: string, schema: JsonSchema): string {
  const { title, minimum, maximum, items, minItems = 0 } = schema;
  if (type === 'null') return 'null';
  if (title !== undefined) return title;
  if (type === 'boolean') return 'true or false';
  if (type === 'array')
    return `a list of ${minItems > 0 ? `${minItems} or more` : 'any number'}, each ${expected(items ?? {})}`;
  if (type === 'number' || type === 'integer') {
    const range = [minimum === undefined ? '' : ` from ${minimum}`, maximum === undefined ? '' : ` to ${maximum}`];
    return `a ${type === 'integer' ? 'whole ' : ''}number${range.join('')}`;
  }
  return type === 'object' ? 'an object' : 'a string';
}

/** Such as "one, two or three". */
export function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

function fits(schema: JsonSchema, value: unknown): boolean {
  if (value === undefined) return false;
  if (schema.const !== undefined) return value === schema.const;
  if (schema.enum !== undefined) return schema.enum.includes(value);
  if (schema.type === undefined) return true;
  return typeof schema.type === 'string'
    ? isOfType(schema.type, schema, value)
    : schema.type.some((type) => isOfType(type, schema, value));
}

function isOfType(type: string, schema: JsonSchema, value: unknown): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value) && isWithin(value.length, schema.minItems, schema.maxItems);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'integer':
      return Number.isInteger(value) && isWithin(value as number, schema.minimum, schema.maximum);
    case 'number':
      return typeof value === 'number' && isWithin(value, schema.minimum, schema.maximum);
    case 'string':
      return typeof value === 'string' && isTextOf(schema, value);
    default:
      return typeof value === type;
  }
}

function isTextOf({ format, pattern, minLength, maxLength }: JsonSchema, value: string): boolean {
  if (format === 'date-time' && Number.isNaN(Date.parse(value))) return false;
  if (pattern !== undefined && !new RegExp(pattern).test(value)) return false;
  return isWithin(value.length, minLength, maxLength);
}

/** False for NaN. */
function isWithin(value: number, least = -Infinity, most = Infinity): boolean {
  return value >= least && value <= most;
}
