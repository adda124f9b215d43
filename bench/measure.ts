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
  readonly before?: Compared;
  /** The same for each of the goal's `beside`. */
  readonly beside?: Readonly<Record<string, Compared>>;
}

export type Compared = Series & { readonly ratio: number };

/** Interleaved, with another order in each repetition, so that other load of the machine affects all sides. */
export async function measure(
  goal: Goal,
  stage: Stage,
  said: (line: string) => void,
  before?: Stage,
): Promise<Outcome> {
  said('setting up');
  const sides = new Map<string, Side>([
    ['yardstick', await goal.yardstick(stage)],
    ['ours', await goal.ours(stage)],
  ]);
  if (before) sides.set('before', await goal.ours(before));
  for (const { settings, side } of goal.beside ?? []) sides.set(settings, await side(stage));
  const names = [...sides.keys()];
  const found = new Map<string, Finding[]>(names.map((name) => [name, []]));
  for (let n = 0; n < stage.sizes.repetitions; n += 1) {
    said(`repetition ${n + 1} of ${stage.sizes.repetitions}`);
    for (const at of names.keys()) {
      const name = names[(n + at) % names.length] as string;
      const finding = await (sides.get(name) as Side)();
      if (!Number.isFinite(finding.figure)) throw new Error(`${name}: ${finding.figure} is no figure`);
      found.get(name)?.push(finding);
    }
  }
  const of = (name: string) => found.get(name) as Finding[];
  const compared = (name: string): Compared => ({
    ...seriesOf(of(name)),
    ratio: median(ratiosOf(of('ours'), of(name))),
  });
  const ratios = ratiosOf(of('ours'), of('yardstick'));
  const { beside } = goal;
  return {
    goal: goal.name,
    ours: seriesOf(of('ours')),
    yardstick: seriesOf(of('yardstick')),
    ratio: { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) },
    ...(before && { before: compared('before') }),
    ...(beside && { beside: Object.fromEntries(beside.map(({ settings }) => [settings, compared(settings)])) }),
  };
}

function ratiosOf(some: readonly Finding[], others: readonly Finding[]): number[] {
  return some.map(({ figure }, n) => figure / (others[n]?.figure ?? Number.NaN));
}

function seriesOf(repetitions: readonly Finding[]): Series {
  return { median: median(repetitions.map(({ figure }) => figure)), repetitions };
}
