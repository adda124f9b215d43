/** `uniqueItems` compares each element with each other one. Longer lists are refused by `maxItems`. */
export const MAX_UNIQUE_ITEMS = 500;
/** A schema tells these lengths apart, so a list costs what it is, and not what it might be. */
export const LIST_LENGTHS: readonly number[] = [8, 16, 32, 64, 128, 256, MAX_UNIQUE_ITEMS];
/** Comparisons of two numbers that cost as much as one step. */
const COMPARISONS_OF_A_STEP = 1_000;
/** What a list or an object costs, and what the name of a member costs, in numbers. */
const NESTED = 10;
const MEMBER_NAME = 4;
/** Characters that are compared in the time of a number. */
const CHARACTERS = 64;

/** What it costs at most to compare the elements of a list of the value, in steps: by the length that such a list has at most. */
export function comparisonCosts(value: unknown): ReadonlyMap<number, number> {
  const costs = new Map<number, number>();
  weigh(value, costs);
  return costs;
}

function weigh(value: unknown, costs: Map<number, number>): number {
  if (typeof value === 'string') return 1 + value.length / CHARACTERS;
  if (typeof value !== 'object' || value === null) return 1;
  const parts: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
  const weight = parts.reduce<number>((sum, part) => sum + weigh(part, costs), 0);
  const length = Array.isArray(value) ? LIST_LENGTHS.find((most) => parts.length <= most) : undefined;
  if (length !== undefined) {
    const cost = Math.ceil((parts.length * weight) / COMPARISONS_OF_A_STEP);
    costs.set(length, Math.max(costs.get(length) ?? 0, cost));
  }
  return NESTED + (Array.isArray(value) ? 0 : MEMBER_NAME * parts.length) + weight;
}
