const FIRST_MS = 100;

/** Doubled with every failure, ± 50 %, so that the workers of a service that restarts do not all come back in one moment. */
export function backoffMs(failures: number, longestMs: number, atLeastMs = 0): number {
  const middle = Math.min(FIRST_MS * 2 ** failures, longestMs);
  return Math.max(atLeastMs, middle * (0.5 + Math.random()));
}
