import type { Queryable, Statement } from '../../database/queryable.js';
import { StoredEvent } from '../domain/stored-event.js';
import { CREATED_AT, UP_TO_HEAD } from './read-events.js';

/** Index: the primary key, for the task; a repeated batch is rare. The events are the receipt of their batch. */
const BATCH: Statement = {
  name: 'read-batch',
  text: `SELECT event_id, type, payload::text AS payload, ${CREATED_AT} FROM taskbridge.events
    WHERE task_id = $1 AND lease_number = $2 AND batch_seq = $3 AND ${UP_TO_HEAD} ORDER BY event_id`,
};

export async function readBatch(
  db: Queryable,
  taskId: string,
  leaseNumber: number,
  batchSeq: number,
): Promise<readonly StoredEvent[]> {
  const rows = await db.query<{ event_id: string; type: string; payload: string; created_at: string }>(BATCH, [
    taskId,
    leaseNumber,
    batchSeq,
  ]);
  return rows.map((row) => new StoredEvent(taskId, Number(row.event_id), row.type, row.created_at, row.payload));
}
