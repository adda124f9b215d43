const reported = new WeakSet<object>();

/** This error has its line in the log; whoever passes it on need not write another. */
export function markReported(error: unknown): void {
  if (typeof error === 'object' && error !== null) reported.add(error);
}

export function isReported(error: unknown): boolean {
  return typeof error === 'object' && error !== null && reported.has(error);
}
