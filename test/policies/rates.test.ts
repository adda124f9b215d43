import { describe, expect, it } from '@jest/globals';
import { full, limitedRuns } from '../support/limited-runs.js';

describe('Rates of a type', () => {
  const { run, intervals } = limitedRuns();

  it.each([
    { limit: 20, periodSeconds: 1, burst: 5 },
    { limit: 10, periodSeconds: 1, burst: 1 },
    { limit: 8, periodSeconds: 1, burst: 2, key: '/input/key' },
  ])(
    'keep attempts within the rate %j in every window, and use it',
    async (rateLimit) => {
      const { limit, periodSeconds, burst, key } = rateLimit;
      const keys = key === undefined ? 1 : 2;
      const tasks = full ? 150 : 45;
      await run({ policy: { rateLimit }, tasks, keys, workMs: 1 });
      const groups = Map.groupBy(await intervals(), (interval) => (key === undefined ? '' : interval.key)).values();
      for (const of of groups) {
        const begins = of.filter(({ isResumed }) => !isResumed).map(({ from }) => from);
        for (const [first, from] of begins.entries()) {
          for (let last = first; last < begins.length; last += 1) {
            const seconds = ((begins[last] ?? 0) - from) / 1_000;
            expect(last - first + 1).toBeLessThanOrEqual(burst + (limit * seconds) / periodSeconds);
          }
        }
        const seconds = ((begins.at(-1) ?? 0) - (begins[0] ?? 0)) / 1_000;
        expect(seconds).toBeLessThan((1.6 * begins.length * periodSeconds) / limit + 1);
      }
    },
    120_000,
  );
});
