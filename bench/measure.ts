import type { Finding, Goal, Side } from './goal.js';
import { median } from './median.js';
import type { Stage } from './stage.js';

/** A figure of every repetition, and the middle of them. */
interface Series {
  readonly median: number;
  readonly repetitions: readonly Finding[];
}

export interface Outcome {
  readonly goal: string;
  readonly ours: Series;
  readonly yardstick: Series;
  /** Ours divided by the yardstick, repetition by repetition. */
  readonly ratio: { readonly median: number; readonly lowest: number; readonly highest: number };
  /** The same for another build, when there is one: its median, and the median of ours divided by it. */
  readonly before?: Series & { readonly ratio: number };
}

type Sides = Record<'ours' | 'yardstick', Side> & { readonly before?: Side };

/** Interleaved, with another order in each repetition, so that other load of the machine affects all sides. */
export async function measure(
  goal: Goal,
  stage: Stage,
  said: (line: string) => void,
  before?: Stage,
): Promise<Outcome> {
  said('setting up');
  const sides: Sides = {
    yardstick: await goal.yardstick(stage),
    ours: await goal.ours(stage),
    ...(before && { before: await goal.ours(before) }),
  };
  const names = Object.keys(sides) as (keyof Sides)[];
  const found: Record<keyof Sides, Finding[]> = { ours: [], yardstick: [], before: [] };
  for (let n = 0; n < stage.sizes.repetitions; n += 1) {
    said(`repetition ${n + 1} of ${stage.sizes.repetitions}`);
    for (const at of names.keys()) {
      const name = names[(n + at) % names.length] as keyof Sides;
      const finding = await (sides[name] as Side)();
      if (!Number.isFinite(finding.figure)) throw new Error(`${name}: ${finding.figure} is no figure`);
      found[name].push(finding);
    }
  }
  const ratios = ratiosOf(found.ours, found.yardstick);
  return {
    goal: goal.name,
    ours: seriesOf(found.ours),
    yardstick: seriesOf(found.yardstick),
    ratio: { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) },
    ...(sides.before && {
      before: { ...seriesOf(found.before), ratio: median(ratiosOf(found.ours, found.before)) },
    }),
  };
}

function ratiosOf(some: readonly Finding[], others: readonly Finding[]): number[] {
  return some.map(({ figure }, n) => figure / (others[n]?.figure ?? Number.NaN));
}

function seriesOf(repetitions: readonly Finding[]): Series {
  return { median: median(repetitions.map(({ figure }) => figure)), repetitions };
}
