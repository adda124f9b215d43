import type { OutputUnit } from '@cfworker/json-schema';
import type { FieldError } from '../../errors.js';

/** Keywords that only say that a part of the value has an error, which stands beside them. */
const AROUND: ReadonlySet<string> = new Set([
  ...['$ref', 'additionalProperties', 'allOf', 'dependentSchemas', 'else', 'if', 'items', 'patternProperties'],
  ...['prefixItems', 'properties', 'propertyNames', 'then', 'unevaluatedItems', 'unevaluatedProperties'],
]);
/** More would help nobody. */
const MAX_ERRORS = 20;
/** A schema may have 64 KiB, and an answer shows a part of it. */
const MAX_SHOWN_CHARACTERS = 200;

/** A keyword that compares with what stands at it. */
const LIMITS: Readonly<Record<string, (limit: unknown) => string>> = {
  type: (types) => `must be of type ${[types].flat().join(' or ')}`,
  const: (value) => `must be ${shown(JSON.stringify(value))}`,
  enum: (values) => `must be one of ${shown((values as unknown[]).map((value) => JSON.stringify(value)).join(', '))}`,
  minProperties: (count) => `must have at least ${counted(count, 'member')}`,
  maxProperties: (count) => `must have at most ${counted(count, 'member')}`,
  minItems: (count) => `must have at least ${counted(count, 'element')}`,
  maxItems: (count) => `must have at most ${counted(count, 'element')}`,
  minContains: (count) => `must have at least ${counted(count, 'element')} as \`contains\` says`,
  maxContains: (count) => `must have at most ${counted(count, 'element')} as \`contains\` says`,
  minLength: (count) => `must have at least ${counted(count, 'character')}`,
  maxLength: (count) => `must have at most ${counted(count, 'character')}`,
  minimum: (limit) => `must be at least ${String(limit)}`,
  maximum: (limit) => `must be at most ${String(limit)}`,
  exclusiveMinimum: (limit) => `must be greater than ${String(limit)}`,
  exclusiveMaximum: (limit) => `must be less than ${String(limit)}`,
  multipleOf: (divisor) => `must be a multiple of ${String(divisor)}`,
  pattern: (source) => `must match ${shown(String(source))}`,
  format: (name) => `must match ${shown(String(name).replace(/^pattern /, ''))}`,
};

const SENTENCES: Readonly<Record<string, string>> = {
  false: 'is not a known member',
  not: 'must not be as `not` says',
  anyOf: 'must be as one of `anyOf` says',
  oneOf: 'must be as exactly one of `oneOf` says',
  contains: 'must have an element as `contains` says',
  uniqueItems: 'must not have two equal elements',
};

/** What the library found, in our words. `at`: what stands in the schema at the location of a keyword. */
export function fieldErrorsOf(
  errors: readonly OutputUnit[],
  at: (keywordLocation: string) => unknown,
): readonly FieldError[] {
  const precise = errors.filter(({ keyword }) => !AROUND.has(keyword));
  const found = (precise.length > 0 ? precise : errors).slice(0, MAX_ERRORS).map((error) => fieldErrorOf(error, at));
  // An element that a list of schemas refuses is one that no other schema is for.
  const isKnown = (path: string) => found.some((other) => other.path === path && other.message !== SENTENCES['false']);
  return found.filter(({ path, message }) => message !== SENTENCES['false'] || !isKnown(path));
}

function fieldErrorOf(
  { instanceLocation, keyword, keywordLocation, error }: OutputUnit,
  at: (location: string) => unknown,
): FieldError {
  const path = pathOf(instanceLocation);
  // Only the text names the member.
  const missing = /^required$|^dependentRequired$/.test(keyword) && /"([^"]*)"\.$/s.exec(error)?.[1];
  if (typeof missing === 'string')
    return { path: path === '' ? missing : `${path}.${missing}`, message: 'is required' };
  return { path, message: LIMITS[keyword]?.(at(keywordLocation)) ?? SENTENCES[keyword] ?? 'is not as the schema says' };
}

/** Where a location leads to, in a schema whose references `lookup` knows. */
export function valueAt(schema: unknown, lookup: Readonly<Record<string, unknown>>, location: string): unknown {
  return partsOf(location).reduce<unknown>((place, part) => {
    const members = place as Readonly<Record<string, unknown>> | undefined;
    return part === '$ref' ? lookup[String(members?.['__absolute_ref__'] ?? members?.[part])] : members?.[part];
  }, schema);
}

function partsOf(location: string): readonly string[] {
  return location
    .split('/')
    .slice(1)
    .map((part) => decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~'));
}

const pathOf = (location: string) => partsOf(location).join('.');

const counted = (count: unknown, noun: string) => `${String(count)} ${noun}${count === 1 ? '' : 's'}`;

function shown(text: string): string {
  return text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
}
