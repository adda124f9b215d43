import { median } from './median.js';
import { type Contender, type Cpu, OPERATIONS, type Operation } from './contender.js';
import type { Stand } from './stand.js';

export type Sides<Of> = Readonly<Record<'ours' | 'base', Of>>;

/** The CPU of one operation in one pair. */
export type Pair = Sides<Cpu>;

/** Service and PostgreSQL together, and each alone. */
export const PARTS = {
  both: ({ service, postgres }: Cpu) => service + postgres,
  service: ({ service }: Cpu) => service,
  postgres: ({ postgres }: Cpu) => postgres,
} as const;

interface PartOutcome {
  /** Ours divided by base, over the pairs. */
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  /** µs of CPU for each operation: the median of the pairs. */
  readonly ours: number;
  readonly base: number;
}

export interface Outcome extends Record<keyof typeof PARTS, PartOutcome> {
  readonly operation: Operation;
  readonly isWithin: boolean;
  readonly pairs: readonly Pair[];
}

/** Operations of a turn: the fewest that keep all connections busy, so that other load of the machine affects both sides. */
const TURN = 32;

/**
 * Does `count` of each operation on each side. Each side gets a new process and database for it. From pair to pair the sides
 * change their stands, and which of them starts and is tidied first: what a stand or a place in the order costs befalls both.
 */
export async function measurePair(
  builds: Sides<string>,
  stands: readonly [Stand, Stand],
  count: number,
  nth: number,
): Promise<Record<Operation, Pair>> {
  const names: (keyof Pair)[] = nth % 2 === 0 ? ['ours', 'base'] : ['base', 'ours'];
  const contenders: Partial<Record<keyof Pair, Contender>> = {};
  for (const [place, name] of names.entries()) contenders[name] = await (stands[place] as Stand).renew(builds[name]);
  const both = contenders as Sides<Contender>;
  // V8's first compilations are no part of an operation.
  for (const operation of OPERATIONS) await takeTurns(both, operation, count, nth);
  const found: Partial<Record<Operation, Pair>> = {};
  for (const operation of OPERATIONS) {
    for (const name of names) await both[name].tidy();
    const before = await cpuOf(both);
    await takeTurns(both, operation, count, nth);
    const after = await cpuOf(both);
    found[operation] = { ours: less(after.ours, before.ours), base: less(after.base, before.base) };
  }
  return found as Record<Operation, Pair>;
}

/** Ours, base, base, ours, ours, … in one pair, and base, ours, ours, … in the next. */
async function takeTurns(sides: Sides<Contender>, operation: Operation, count: number, nth: number): Promise<void> {
  for (let [turn, left] = [0, count]; left > 0; turn += 1, left -= TURN) {
    const order = [sides.ours, sides.base];
    if ((turn + nth) % 2 === 1) order.reverse();
    for (const contender of order) await contender.work(operation, Math.min(TURN, left));
  }
}

async function cpuOf({ ours, base }: Sides<Contender>): Promise<Pair> {
  return { ours: await ours.cpu(), base: await base.cpu() };
}

function less(after: Cpu, before: Cpu): Cpu {
  return { service: after.service - before.service, postgres: after.postgres - before.postgres };
}

export function ratioOf({ ours, base }: Pair, part: (cpu: Cpu) => number): number {
  return part(ours) / part(base);
}

/** @throws when a side took no measurable time */
export function outcomeOf(operation: Operation, pairs: readonly Pair[], count: number, limit: number): Outcome {
  const partOutcome = (part: (cpu: Cpu) => number): PartOutcome => {
    const ratios = pairs.map((pair) => ratioOf(pair, part));
    const microseconds = (side: keyof Pair) => (median(pairs.map((pair) => part(pair[side]))) / count) * 1e6;
    return {
      ...{ median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) },
      ...{ ours: microseconds('ours'), base: microseconds('base') },
    };
  };
  const both = partOutcome(PARTS.both);
  if (!Number.isFinite(both.median)) throw new Error(`${operation}: ${both.median} is no ratio`);
  const [service, postgres] = [partOutcome(PARTS.service), partOutcome(PARTS.postgres)];
  return { operation, isWithin: both.median <= limit, both, service, postgres, pairs };
}
