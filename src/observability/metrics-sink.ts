import type { CounterName, GaugeName, HistogramName, LabelsOf } from './metrics.js';

/** Counts and measures for the operator. Never throws, never waits: it is called on every path there is. */
export abstract class MetricsSink {
  /** By one. */
  abstract increment<Name extends CounterName>(counter: Name, ...labels: LabelsOf<Name>): void;
  /** Up when something begins, down in the `finally` of it. */
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
