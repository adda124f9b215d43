import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Metric } from './metrics.js';

const PREFIX = 'taskbridge_';

type Made<M extends Metric> = M['kind'] extends 'counter' ? Counter : M['kind'] extends 'gauge' ? Gauge : Histogram;

/** The metrics of a catalogue, in this registry and no other: two applications in a process count apart. */
export function makeMetrics<Catalogue extends Record<string, Metric>>(
  registry: Registry,
  catalogue: Catalogue,
): { readonly [Name in keyof Catalogue]: Made<Catalogue[Name]> } {
  const made = Object.entries(catalogue).map(([name, metric]) => [name, makeMetric(registry, name, metric)] as const);
  return Object.fromEntries(made) as { [Name in keyof Catalogue]: Made<Catalogue[Name]> };
}

function makeMetric(registry: Registry, name: string, { kind, help, labels, buckets }: Metric) {
  const options = { name: `${PREFIX}${name}`, help, labelNames: [...labels], registers: [registry] };
  switch (kind) {
    case 'counter':
      return new Counter(options);
    case 'gauge':
      return new Gauge(options);
    case 'histogram':
      return new Histogram({ ...options, ...(buckets && { buckets: [...buckets] }) });
  }
}
