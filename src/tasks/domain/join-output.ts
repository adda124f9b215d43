import { storedJson } from '#protocol/exact-json.js';
import { newEvent, type NewEvent } from './task-event.js';

export interface Joined {
  readonly events: readonly NewEvent[];
  /** For each event given, which of `events` it is in. */
  readonly placeOf: readonly number[];
}

/** Events that become one. */
interface Run {
  readonly first: NewEvent;
  readonly data: string[];
  /** Bytes of the JSON of the one event. */
  bytes: number;
}

/**
 * Adjacent appends to one channel become one event, as long as it fits: a stream of tokens would otherwise be a log of single
 * words. The same events joined again give the same, so that a repeated batch is recognised. What is joined is written once, at
 * the end: its length is the sum of the lengths, since no text here begins or ends within a character. `write` gives the JSON whose
 * bytes count.
 */
export function joinOutput(
  events: readonly NewEvent[],
  maxEventBytes: number,
  write: (value: string | object) => string = storedJson,
): Joined {
  const runs: Run[] = [];
  const placeOf = events.map((event) => {
    const last = runs.at(-1);
    const added = last && goTogether(last.first, event) ? Buffer.byteLength(write(dataOf(event))) - 2 : Infinity;
    if (last && last.bytes + added <= maxEventBytes) {
      last.data.push(dataOf(event));
      last.bytes += added;
    } else {
      runs.push({ first: event, data: [dataOf(event)], bytes: bytesOf(event, write) });
    }
    return runs.length - 1;
  });
  return { events: runs.map(joined), placeOf };
}

function bytesOf({ payload, json }: NewEvent, write: (value: object) => string): number {
  return Buffer.byteLength(write === storedJson ? json : write(payload));
}

function joined({ first, data }: Run): NewEvent {
  if (data.length === 1 || first.type !== 'TASK_OUTPUT') return first;
  return newEvent('TASK_OUTPUT', { ...first.payload, data: data.join('') });
}

function goTogether(a: NewEvent, b: NewEvent): boolean {
  return isAppend(a) && isAppend(b) && a.payload.channel === b.payload.channel;
}

function isAppend(event: NewEvent): event is NewEvent<'TASK_OUTPUT'> {
  return event.type === 'TASK_OUTPUT' && event.payload.op === 'append';
}

function dataOf(event: NewEvent): string {
  return event.type === 'TASK_OUTPUT' ? event.payload.data : '';
}
