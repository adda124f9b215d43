import { ValidateBy } from 'class-validator';
import { MAX_TAGS } from '#protocol/limits.js';
import { MalformedJson } from '../errors.js';
import { parseStrictJson } from '../json/strict-json.js';

/** A parameter of a query that is JSON. Another text stays as it is, and no validator of objects accepts it. */
export function jsonIn(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return parseStrictJson(value);
  } catch (error) {
    if (error instanceof MalformedJson) return value;
    throw error;
  }
}

/** An object of strings, with at most 16 members. */
export const IsTags = () =>
  ValidateBy({
    name: 'isTags',
    validator: {
      validate: (value: unknown) =>
        typeof value === 'object' &&
        value !== null &&
        !Array.isArray(value) &&
        Object.keys(value).length <= MAX_TAGS &&
        Object.values(value).every((one) => typeof one === 'string'),
      defaultMessage: () => `$property must be an object of strings with at most ${MAX_TAGS} members`,
    },
  });
