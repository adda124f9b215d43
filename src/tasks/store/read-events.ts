import type { TaskStatus } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import { StoredEvent } from '../domain/stored-event.js';

/** The wire form of an event's time, made in one place so that live and replayed bytes are equal. */
export const CREATED_AT = `to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at`;

/** The events of the task `$1` up to its head. Rows above the head count as no events. */
export const UP_TO_HEAD = `event_id <= (SELECT t.head_event_id FROM taskbridge.proj_tasks t WHERE t.task_id = $1)`;

/** Index: the primary keys. Keyset, so a page costs the same anywhere in the log. */
const PAGE: Statement = {
  name: 'read-events',
  text: `SELECT event_id, type, payload::text AS payload, ${CREATED_AT}
    FROM taskbridge.events WHERE task_id = $1 AND event_id > $2 AND ${UP_TO_HEAD} ORDER BY event_id LIMIT $3`,
};

const PAGE_BEFORE: Statement = {
  name: 'read-events-before',
  text: `SELECT event_id, type, payload::text AS payload, ${CREATED_AT}
    FROM taskbridge.events WHERE task_id = $1 AND event_id < $2 AND ${UP_TO_HEAD} ORDER BY event_id DESC LIMIT $3`,
};

interface EventRow {
  event_id: string;
  type: string;
  payload: string;
  created_at: string;
}

/** Up to `limit` events after the cursor, in order. They are committed. */
export async function readEvents(
  db: Queryable,
  taskId: string,
  afterEventId: number,
  limit: number,
): Promise<readonly StoredEvent[]> {
  const rows = await db.query<EventRow>(PAGE, [taskId, afterEventId, limit]);
  return rows.map((row) => eventIn(taskId, row));
}

/** The last `limit` events before this one, in order. */
export async function readEventsBefore(
  db: Queryable,
  taskId: string,
  beforeEventId: number,
  limit: number,
): Promise<readonly StoredEvent[]> {
  const rows = await db.query<EventRow>(PAGE_BEFORE, [taskId, beforeEventId, limit]);
  return rows.map((row) => eventIn(taskId, row)).reverse();
}

function eventIn(taskId: string, { event_id, type, created_at, payload }: EventRow): StoredEvent {
  return new StoredEvent(taskId, Number(event_id), type, created_at, payload);
}

/** The head and the status of a task. */
export interface Head {
  readonly taskId: string;
  readonly headEventId: number;
  readonly status: TaskStatus;
}

/** Index: the primary key of proj_tasks. One row for each id that exists. */
const HEADS: Statement = {
  name: 'read-heads',
  text: `SELECT task_id, head_event_id, status FROM taskbridge.proj_tasks WHERE task_id = ANY ($1::uuid[])`,
};

export async function readHeads(db: Queryable, taskIds: readonly string[]): Promise<readonly Head[]> {
  const rows = await db.query<{ task_id: string; head_event_id: string; status: TaskStatus }>(HEADS, [taskIds]);
  return rows.map((row) => ({
    taskId: row.task_id,
    headEventId: Math.max(0, Number(row.head_event_id)),
    status: row.status,
  }));
}
