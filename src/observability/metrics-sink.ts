import type { CounterName, GaugeName, HistogramName, LabelsOf } from './metrics.js';

/** Counts and measures for the operator. Never throws, never waits: every path calls it. */
export abstract class MetricsSink {
  /** Counts one more. */
  abstract increment<Name extends CounterName>(counter: Name, ...labels: LabelsOf<Name>): void;
  /** Goes up at a beginning, and down in its `finally`. */
  abstract adjust<Name extends GaugeName>(gauge: Name, delta: number, ...labels: LabelsOf<Name>): void;
  abstract set<Name extends GaugeName>(gauge: Name, value: number, ...labels: LabelsOf<Name>): void;
  abstract observe<Name extends HistogramName>(histogram: Name, seconds: number, ...labels: LabelsOf<Name>): void;
}

export class NoOpMetricsSink extends MetricsSink {
  override increment(): void {}
  override adjust(): void {}
  override set(): void {}
  override observe(): void {}
}
