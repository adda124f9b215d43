import { newEvent, type NewEvent } from './task-event.js';

export interface Joined {
  readonly events: readonly NewEvent[];
  /** For each event given, which of `events` it is in. */
  readonly placeOf: readonly number[];
}

/**
 * Adjacent appends to one channel become one event, as long as it fits: a stream of tokens would otherwise be a log of single
 * words. The same events joined again give the same, so that a repeated batch is recognised.
 */
export function joinOutput(events: readonly NewEvent[], maxEventBytes: number): Joined {
  const joined: NewEvent[] = [];
  const placeOf = events.map((event) => {
    const last = joined.at(-1);
    const longer = last && together(last, event);
    if (longer && Buffer.byteLength(longer.json) <= maxEventBytes) joined[joined.length - 1] = longer;
    else joined.push(event);
    return joined.length - 1;
  });
  return { events: joined, placeOf };
}

function together(a: NewEvent, b: NewEvent): NewEvent | undefined {
  const append = (event: NewEvent) => event.type === 'TASK_OUTPUT' && event.payload['op'] === 'append';
  if (!append(a) || !append(b) || a.payload['channel'] !== b.payload['channel']) return undefined;
  return newEvent('TASK_OUTPUT', {
    ...a.payload,
    data: `${a.payload['data'] as string}${b.payload['data'] as string}`,
  });
}
