import { StoredEvent } from '../tasks/domain/stored-event.js';

/** The size of a pack in characters, about. A larger event is a pack by itself. */
const PACK_SIZE = 16 * 1024;
const LINE_END = 10;

/**
 * Events in as few texts as their order and the size allow. Each event has a line, `<taskId> <eventId> <type> <createdAt>
 * <bytes>`, and then its payload, whose length is `<bytes>`. One text costs Redis and both sides as much as one event.
 */
export function packs(events: readonly StoredEvent[]): readonly string[] {
  const full: string[] = [];
  let pack = '';
  for (const { taskId, eventId, type, createdAt, payloadJson } of events) {
    if (pack !== '' && pack.length + payloadJson.length > PACK_SIZE) {
      full.push(pack);
      pack = '';
    }
    pack += `${taskId} ${eventId} ${type} ${createdAt} ${Buffer.byteLength(payloadJson)}\n${payloadJson}`;
  }
  return pack === '' ? full : [...full, pack];
}

/** The events of a pack whose tasks have followers. It stops at the first part that `packs` did not make. */
export function unpacked(pack: Buffer, follows: (taskId: string) => boolean): readonly StoredEvent[] {
  const events: StoredEvent[] = [];
  for (let at = 0; at < pack.length; ) {
    const lineEnd = pack.indexOf(LINE_END, at);
    const [taskId = '', id, type, createdAt, bytes] = pack.toString('latin1', at, Math.max(at, lineEnd)).split(' ');
    at = lineEnd + 1 + Number(bytes);
    const eventId = Number(id);
    if (lineEnd < 0 || !(at > lineEnd && at <= pack.length) || !Number.isSafeInteger(eventId) || eventId < 1) break;
    if (!follows(taskId)) continue;
    // Each text is copied: a slice would keep the whole pack in memory as long as the event.
    events.push(new StoredEvent(taskId, eventId, type ?? '', createdAt ?? '', pack.toString('utf8', lineEnd + 1, at)));
  }
  return events;
}
