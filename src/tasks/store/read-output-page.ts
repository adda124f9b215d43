import type { Queryable, Statement } from '../../database/queryable.js';

/** An event, as far as a text depends on it. */
export interface OutputEvent {
  readonly eventId: number;
  readonly type: string;
  readonly payloadJson: string;
}

export interface PageBounds {
  /** Events before this one. */
  readonly beforeEventId: number;
  readonly events: number;
  /** The bytes of all payloads. */
  readonly bytes: number;
}

/** The payload of an end says nothing about output, and may be large. */
const payloadOf = (event: string) =>
  `CASE WHEN ${event}.type IN ('TASK_COMPLETED', 'TASK_FAILED', 'TASK_CANCELLED') THEN '{}' ELSE ${event}.payload::text END`;

/**
 * Index: the primary key, event by event from the newest. So nothing beyond the bounds is read: a sum over a window would read, and
 * decompress, every payload before it compares. PostgreSQL must not look into payloads: it refuses U+0000 and half characters in them.
 */
const PAGE: Statement = {
  name: 'read-output-page',
  text: `WITH RECURSIVE page AS (
      (SELECT e.event_id, e.type, ${payloadOf('e')} AS payload, 1 AS events, octet_length(${payloadOf('e')}) AS bytes
        FROM taskbridge.events e WHERE e.task_id = $1 AND e.event_id < $2 ORDER BY e.event_id DESC LIMIT 1)
      UNION ALL
      SELECT n.event_id, n.type, n.payload, p.events + 1, p.bytes + octet_length(n.payload)
        FROM page p CROSS JOIN LATERAL (
          SELECT e.event_id, e.type, ${payloadOf('e')} AS payload
          FROM taskbridge.events e WHERE e.task_id = $1 AND e.event_id < p.event_id ORDER BY e.event_id DESC LIMIT 1
        ) n
        WHERE p.events < $3 AND p.bytes + octet_length(n.payload) <= $4
    )
    SELECT event_id, type, payload FROM page WHERE bytes <= $4`,
};

/** The newest events within the bounds, newest first. */
export async function readOutputPage(
  db: Queryable,
  taskId: string,
  { beforeEventId, events, bytes }: PageBounds,
): Promise<readonly OutputEvent[]> {
  const rows = await db.query<{ event_id: string; type: string; payload: string }>(PAGE, [
    taskId,
    beforeEventId,
    events,
    bytes,
  ]);
  return rows.map((row) => ({ eventId: Number(row.event_id), type: row.type, payloadJson: row.payload }));
}
