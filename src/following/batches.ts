import type { StoredEvent } from '../tasks/domain/stored-event.js';

/** A write is cut at this size, so a connection exceeds its cap by at most one batch or one larger event. */
const BATCH_BYTES = 128 * 1024;

/** One write: at least one event. */
export interface Batch {
  readonly events: readonly StoredEvent[];
  readonly first: StoredEvent;
  readonly last: StoredEvent;
}

/** Cuts events into writes of bounded size; no write goes beyond the event `boundary`. */
export function batches(events: readonly StoredEvent[], boundary: number): readonly Batch[] {
  const cut: Batch[] = [];
  let from = 0;
  let bytes = 0;
  for (const [at, last] of events.entries()) {
    bytes += last.payloadJson.length;
    if (bytes < BATCH_BYTES && last.eventId !== boundary && at < events.length - 1) continue;
    cut.push({ events: events.slice(from, at + 1), first: events[from] ?? last, last });
    from = at + 1;
    bytes = 0;
  }
  return cut;
}
