import type { Latency } from '#protocol/operators.js';

/** A histogram: how many values were at most each bound. The bounds rise, and the last one is infinite. */
export type Buckets = readonly { readonly seconds: number; readonly count: number }[];

/** What came between two looks at a histogram, as Prometheus estimates it. Undefined: nothing came. */
export function latencyBetween(before: Buckets, after: Buckets): Latency | undefined {
  const earlier = new Map(before.map(({ seconds, count }) => [seconds, count]));
  const since = after.map(({ seconds, count }) => ({ seconds, count: count - (earlier.get(seconds) ?? 0) }));
  const count = since.at(-1)?.count ?? 0;
  if (count <= 0) return undefined;
  return { count, p50Ms: quantile(since, 0.5), p95Ms: quantile(since, 0.95), p99Ms: quantile(since, 0.99) };
}

/** Linear within a bucket. What is above the last finite bound counts as that bound. */
function quantile(buckets: Buckets, share: number): number {
  const rank = share * (buckets.at(-1)?.count ?? 0);
  const at = buckets.findIndex(({ count }) => count >= rank);
  const bucket = buckets[at];
  const below = buckets[at - 1] ?? { seconds: 0, count: 0 };
  if (!bucket || !Number.isFinite(bucket.seconds)) return rounded(below.seconds);
  const within = bucket.count === below.count ? 1 : (rank - below.count) / (bucket.count - below.count);
  return rounded(below.seconds + (bucket.seconds - below.seconds) * within);
}

const rounded = (seconds: number) => Math.round(seconds * 1e5) / 100;
