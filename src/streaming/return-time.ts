/** When the clients of a draining replica reconnect: at random, so that they do not all come at once. */
const LEAST_MS = 1_000;
const MOST_MS = 5_000;

export function comeBackAfterMs(): number {
  return Math.round(LEAST_MS + Math.random() * (MOST_MS - LEAST_MS));
}
