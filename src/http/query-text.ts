/** For class-transformer: a query parameter that is a whole number. Anything else becomes NaN, which no validator accepts. */
export function integerText({ value }: { value: unknown }): number {
  if (typeof value === 'number') return value;
  return typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
}

/** A query parameter that is true or false. Anything else stays as it is, and no validator accepts it. */
export const booleanText = ({ value }: { value: unknown }): unknown =>
  value === 'true' ? true : value === 'false' ? false : value;
