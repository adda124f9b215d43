import { describe, expect, it } from '@jest/globals';
import { backoff } from '../../packages/client/src/waiting.js';

describe('The pause before a connection', () => {
  it.each([
    [0, 1_000],
    [1, 2_000],
    [4, 16_000],
    [5, 30_000],
    [100, 30_000],
  ])('after %i failures is anything up to %i ms', (failures, longestMs) => {
    const pauses = Array.from({ length: 1_000 }, () => backoff(failures));
    expect(Math.max(...pauses)).toBeLessThan(longestMs);
    // Clients of a service that restarts come back over the whole time.
    const tenths = new Set(pauses.map((ms) => Math.floor((10 * ms) / longestMs)));
    expect(tenths.size).toBe(10);
  });
});
