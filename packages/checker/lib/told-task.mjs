/** What a snapshot or a change says of a task, and what its row says: the members that decide what a reader shows. */
export function stateOf({ status, cancellationRequested, attempt, openSuspension, aside }) {
  return {
    status,
    cancellationRequested,
    attempt,
    suspendId: openSuspension?.suspendId ?? null,
    aside: Boolean(aside),
  };
}

/** The members in which two states differ. */
export function differences(told, stored) {
  return Object.keys(told).filter((name) => told[name] !== stored[name]);
}
