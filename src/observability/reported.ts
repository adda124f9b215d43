const reported = new WeakSet<object>();

/** Marks an error that has its line in the log, so later handlers write no second one. */
export function markReported(error: unknown): void {
  if (typeof error === 'object' && error !== null) reported.add(error);
}

export function isReported(error: unknown): boolean {
  return typeof error === 'object' && error !== null && reported.has(error);
}
