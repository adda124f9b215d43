import type { Stage } from './stage.js';

/** The result of one repetition: the compared figure, and further figures by name. */
export interface Finding {
  readonly figure: number;
  readonly [detail: string]: number;
}

/** One repetition of one side, set up and warm. */
export type Side = () => Promise<Finding>;

export type Limit = { readonly atLeast: number } | { readonly atMost: number };

/** A figure of the service, beside the yardstick that it is compared with. */
export interface Goal {
  readonly name: string;
  readonly title: string;
  /** A short description of the yardstick. */
  readonly against: string;
  /** The unit of both sides' figures. */
  readonly unit: string;
  /** The figure that gate and stretch judge: ours divided by the yardstick, or ours alone. */
  readonly judged: 'ratio' | 'figure';
  /** Absent: measured, and not judged. */
  readonly gate?: Limit;
  readonly stretch?: Limit;
  readonly ours: (stage: Stage) => Promise<Side>;
  readonly yardstick: (stage: Stage) => Promise<Side>;
  /** The settings of the yardstick, where it is another product. Printed below the row. */
  readonly settings?: string;
  /** Other products, measured in the same repetitions and printed below the row. Nothing judges them. */
  readonly beside?: readonly Beside[];
}

export interface Beside {
  /** The name of the product with its settings. */
  readonly settings: string;
  readonly side: (stage: Stage) => Promise<Side>;
}

export function meets(limit: Limit, value: number): boolean {
  return 'atLeast' in limit ? value >= limit.atLeast : value <= limit.atMost;
}
