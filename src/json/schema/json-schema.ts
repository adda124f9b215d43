import { dereference, type OutputUnit, type Schema, validate } from '@cfworker/json-schema';
import type { FieldError } from '../../errors.js';
import type { JsonObject, JsonValue } from '../strict-json.js';
import { metered, PATTERN } from './linear-pattern.js';
import { prepared, SchemaInvalid } from './prepared-schema.js';

// JSON Schema 2020-12, interpreted: no code is made of a schema. A schema is a stranger's, and costs its own request only: its size,
// its work and its patterns are bounded.

const MAX_SCHEMA_CHARACTERS = 16 * 1024;
/** The value that a schema judges, as JSON. */
const MAX_JUDGED_CHARACTERS = 64 * 1024;
/** The work of one judgement, in about as many microseconds. */
const MAX_WORK = 4_000;
const MAX_PROBLEMS = 100;
const MAX_MESSAGE_CHARACTERS = 200;
/** The validator compares each item with each other one. */
const MAX_UNIQUE_ITEMS = 200;

class TooMuchWork extends Error {}

/** What is wrong with a schema. Undefined: the service takes it. */
export function schemaProblem(schema: JsonValue): FieldError | undefined {
  if (JSON.stringify(schema).length > MAX_SCHEMA_CHARACTERS)
    return { path: '', message: `has more than ${MAX_SCHEMA_CHARACTERS} characters` };
  try {
    const { made, referring } = prepared(schema, { names: new Set(), looked: () => undefined });
    const lookup = dereference(made as Schema) as Readonly<Record<string, unknown>>;
    const lost = (referring as readonly Schema[]).find(({ __absolute_ref__: ref = '' }) => lookup[ref] === undefined);
    return lost && { path: '', message: `has no part ${String(lost.$ref).slice(0, MAX_MESSAGE_CHARACTERS)}` };
  } catch (error) {
    if (error instanceof SchemaInvalid) return { path: error.path, message: error.problem };
    return { path: '', message: 'is no JSON Schema that the service can read' };
  }
}

/** What a schema that the service took finds wrong with a value, each with its path below `path`. Empty: nothing. */
export function problemsIn(schema: JsonValue, value: JsonValue, path: string): readonly FieldError[] {
  const whole = (message: string) => [{ path, message }];
  if (JSON.stringify(value).length > MAX_JUDGED_CHARACTERS)
    return whole(`has more than ${MAX_JUDGED_CHARACTERS} characters, so no schema judges it`);
  const extent = extentOf(value);
  if (extent.items > MAX_UNIQUE_ITEMS && JSON.stringify(schema).includes('"uniqueItems"'))
    return whole(`has a list of more than ${MAX_UNIQUE_ITEMS} items, where a schema demands unique ones`);
  let work = 0;
  const spend = (more: number) => {
    work += more;
    if (work > MAX_WORK) throw new TooMuchWork();
  };
  try {
    const { errors } = metered(spend, () => {
      const looked = (part: JsonObject) => spend(workOf(part, extent));
      const { made } = prepared(schema, { names: extent.names, looked });
      return validate(value, made as Schema, '2020-12');
    });
    const leaves = errors.filter(({ keyword }) => !AROUND.has(keyword));
    return (leaves.length > 0 ? leaves : errors).slice(0, MAX_PROBLEMS).map((error) => problem(error, path));
  } catch (error) {
    if (error instanceof TooMuchWork) return whole('takes too much work to judge by the schema');
    return whole('cannot be judged by the schema');
  }
}

/** Keywords whose errors only say that a part has errors. */
const AROUND: ReadonlySet<string> = new Set([
  ...['$ref', 'allOf', 'if', 'properties', 'patternProperties', 'additionalProperties', 'propertyNames'],
  ...['items', 'prefixItems', 'dependentSchemas', 'unevaluatedProperties', 'unevaluatedItems'],
]);

function problem({ instanceLocation, keyword, error }: OutputUnit, path: string): FieldError {
  const names = instanceLocation
    .split('/')
    .slice(1)
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  const below = names.map((name) => (/^\d+$/.test(name) ? `[${name}]` : `.${name}`)).join('');
  const message = keyword === 'format' ? `String does not match the ${error.slice(error.indexOf(PATTERN))}` : error;
  return { path: (path + below).slice(0, MAX_MESSAGE_CHARACTERS), message: message.slice(0, MAX_MESSAGE_CHARACTERS) };
}

interface Extent {
  readonly names: ReadonlySet<string>;
  /** The most members of one object, the most items of one list, the most characters of one text. */
  readonly members: number;
  readonly items: number;
  readonly characters: number;
}

function extentOf(value: JsonValue): Extent {
  const names = new Set<string>();
  let [members, items, characters] = [0, 0, 0];
  const look = (one: JsonValue): void => {
    if (typeof one === 'string') characters = Math.max(characters, one.length);
    if (typeof one !== 'object' || one === null) return;
    const inner = Object.entries(one as JsonObject);
    if (Array.isArray(one)) items = Math.max(items, inner.length);
    else {
      members = Math.max(members, inner.length);
      for (const [name] of inner) names.add(name);
    }
    for (const [, part] of inner) look(part);
  };
  look(value);
  return { names, members, items, characters };
}

const OF_MEMBERS = ['additionalProperties', 'patternProperties', 'propertyNames', 'unevaluatedProperties'];

function workOf(part: JsonObject, { members, characters }: Extent): number {
  const sizes = ['enum', 'required', 'properties', 'dependentRequired', 'dependentSchemas'].map(
    (name) => Object.keys((part[name] ?? {}) as object).length,
  );
  const looped = OF_MEMBERS.some((name) => part[name] !== undefined) ? members : 0;
  const measured = part['minLength'] !== undefined || part['maxLength'] !== undefined ? characters / 500 : 0;
  return 1 + sizes.reduce((sum, n) => sum + n, 0) / 10 + looped + measured;
}
