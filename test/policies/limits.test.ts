import { describe, expect, it } from '@jest/globals';
import { type Interval, limitedRuns, TASKS } from '../support/limited-runs.js';

describe('Limits of a type', () => {
  const { run, intervals } = limitedRuns();

  /** The most leases at a time. */
  function most(of: readonly Interval[]): number {
    const changes = of.flatMap(({ from, to }) => [
      { at: from, by: 1 },
      { at: to ?? Number.POSITIVE_INFINITY, by: -1 },
    ]);
    // An end comes before a beginning at the same moment.
    changes.sort((a, b) => a.at - b.at || a.by - b.by);
    let running = 0;
    return changes.reduce((peak, { by }) => Math.max(peak, (running += by)), 0);
  }

  /** The longest time in which fewer than `limit` ran, while a task of them had yet to begin its last attempt. */
  function longestIdleMs(of: readonly Interval[], limit: number): number {
    const lastBegin = Math.max(...of.map(({ from }) => from));
    const times = [...new Set(of.flatMap(({ from, to }) => [from, ...(to === null ? [] : [to])]))].sort(
      (a, b) => a - b,
    );
    let longest = 0;
    let idleSince: number | undefined;
    for (const at of times) {
      if (at > lastBegin) break;
      const running = of.filter(({ from, to }) => from <= at && (to === null || to > at)).length;
      if (running >= limit) {
        if (idleSince !== undefined) longest = Math.max(longest, at - idleSince);
        idleSince = undefined;
      } else idleSince ??= at;
    }
    return longest;
  }

  it('hold for the type, through kills and lost leases, and leave no slot idle', async () => {
    await run({ policy: { maxRunning: 5 }, lost: 0.05, kills: 2 });
    const all = await intervals();
    expect(all.length).toBeGreaterThan(TASKS);
    expect(most(all)).toBe(5);
  }, 120_000);

  it('hold for each owner', async () => {
    await run({ policy: { maxRunningPerOwner: 2 }, owners: 3, lost: 0.03, kills: 1 });
    const byOwner = Map.groupBy(await intervals(), ({ owner }) => owner);
    expect(byOwner.size).toBe(3);
    for (const of of byOwner.values()) expect(most(of)).toBe(2);
  }, 120_000);

  it('hold for each key', async () => {
    await run({ policy: { concurrencyKey: '/input/key', maxRunningPerKey: 2 }, keys: 4, lost: 0.03, kills: 1 });
    const byKey = Map.groupBy(await intervals(), ({ key }) => key);
    expect(byKey.size).toBe(4);
    for (const of of byKey.values()) expect(most(of)).toBe(2);
  }, 120_000);

  it('leave no free slot idle for longer than a second while a task may run', async () => {
    await run({
      policy: { maxRunning: 4, maxRunningPerOwner: 2, concurrencyKey: '/input/key' },
      owners: 3,
      keys: 3,
      workMs: 100,
    });
    const all = await intervals();
    expect(most(all)).toBeLessThanOrEqual(4);
    for (const of of Map.groupBy(all, ({ owner }) => owner).values()) expect(longestIdleMs(of, 1)).toBeLessThan(1_000);
    expect(longestIdleMs(all, 3)).toBeLessThan(1_000);
  }, 120_000);
});
