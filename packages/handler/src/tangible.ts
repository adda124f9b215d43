/** What was thrown, or an error in its place where it lets nobody look at it: `instanceof` on a revoked Proxy throws. */
export function tangible(thrown: unknown): unknown {
  try {
    return thrown instanceof Error ? thrown : (Object.prototype.toString.call(thrown), thrown);
  } catch {
    return new Error('What was thrown cannot be looked at.');
  }
}
