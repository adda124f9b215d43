import { Injectable } from '@nestjs/common';
import { Registry } from 'prom-client';
import { type CounterName, type GaugeName, type HistogramName, METRICS } from './metrics.js';
import { MetricsSink } from './metrics-sink.js';
import { makeMetrics } from './prometheus-metrics.js';

type Labels = Readonly<Record<string, string>>;

/**
 * Passes the caller's label object on as it is: prom-client keeps no reference to it. Leaves out times that are not finite, for which
 * prom-client throws: a metric must not end the work that it counts. A gauge may be NaN: not known.
 */
@Injectable()
export class PrometheusMetricsSink extends MetricsSink {
  private readonly metrics;

  constructor(registry: Registry) {
    super();
    this.metrics = makeMetrics(registry, METRICS);
  }

  override increment(counter: CounterName, labels?: Labels): void {
    if (labels) this.metrics[counter].inc(labels);
    else this.metrics[counter].inc();
  }

  override adjust(gauge: GaugeName, delta: number, labels: Labels = {}): void {
    if (!Number.isFinite(delta)) return;
    this.metrics[gauge].inc(labels, delta);
  }

  override set(gauge: GaugeName, value: number, labels: Labels = {}): void {
    this.metrics[gauge].set(labels, value);
  }

  override observe(histogram: HistogramName, seconds: number, labels?: Labels): void {
    if (!Number.isFinite(seconds)) return;
    if (labels) this.metrics[histogram].observe(labels, seconds);
    else this.metrics[histogram].observe(seconds);
  }
}
