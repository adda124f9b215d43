import { comesBack, magnitude } from '#protocol/exact-json.js';

/** The largest double takes 309 characters in full and the smallest 326; a longer literal is an attack on its reader. */
export const MAX_NUMBER_LENGTH = 400;

export const NOT_KEPT = 'a number that a double does not keep exactly';

/**
 * Why a number literal of the JSON grammar would be silently changed by a double, undefined when it would not.
 *
 * Up to ±2^53 a decimal is the nearest double, as everywhere. Beyond, doubles are whole numbers with gaps, and a literal
 * has to come back as it was sent (in value: `1e21`, `10e20` and `1000000000000000000000` are one). So 9007199254740993
 * has a fault, and also 2^60 in full, though a double holds it: it would come back as 1152921504606847000. Everything that
 * `JSON.stringify`, or another writer of the shortest form, made of a double passes.
 */
export function numberFault(literal: string): string | undefined {
  const value = Number(literal);
  if (!Number.isFinite(value)) return 'a number beyond the range of a double';
  if (value === 0 && magnitude(literal) !== '0') return 'a number that would become zero';
  return comesBack(literal) ? undefined : NOT_KEPT;
}
