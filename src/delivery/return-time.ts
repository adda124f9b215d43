/** When the clients of a replica that drains shall come back: at random, so that all of them do not come at once. */
const LEAST_MS = 1_000;
const MOST_MS = 5_000;

export function comeBackAfterMs(): number {
  return Math.round(LEAST_MS + Math.random() * (MOST_MS - LEAST_MS));
}
