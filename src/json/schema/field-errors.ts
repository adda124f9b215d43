import type { ValidationResult } from '@cfworker/json-schema';
import type { FieldError } from '../../errors.js';

/** Keywords that only say that a part of the value has an error, which stands beside them. */
const AROUND: ReadonlySet<string> = new Set([
  ...['$ref', 'additionalProperties', 'allOf', 'contains', 'dependentSchemas', 'else', 'items', 'patternProperties'],
  ...['prefixItems', 'properties', 'propertyNames', 'then', 'unevaluatedItems', 'unevaluatedProperties'],
]);
/** More would help nobody. */
const MAX_ERRORS = 20;

/** Where the value is not as the schema says. Paths are like those of all refusals: `a.b.0`. */
export function fieldErrorsOf({ valid, errors }: ValidationResult): readonly FieldError[] {
  if (valid) return [];
  const precise = errors.filter(({ keyword }) => !AROUND.has(keyword));
  return (precise.length > 0 ? precise : errors).slice(0, MAX_ERRORS).map(({ instanceLocation, keyword, error }) => ({
    path: pathOf(instanceLocation),
    message: messageOf(keyword, error),
  }));
}

function messageOf(keyword: string, error: string): string {
  if (keyword === 'false') return 'is not a known member';
  return keyword === 'format'
    ? error.replace(/^String does not match format "pattern (.*)"\.$/s, 'must match $1')
    : error;
}

function pathOf(location: string): string {
  const parts = location.split('/').slice(1);
  return parts.map((part) => decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')).join('.');
}
