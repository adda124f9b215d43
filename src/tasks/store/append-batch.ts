import type { Queryable, Statement } from '../../database/queryable.js';
import { supersededBy } from '../domain/decide.js';
import { StoredEvent } from '../domain/stored-event.js';
import type { NewEvent } from '../domain/task-event.js';
import { leaseSecondsOf } from '../domain/lease-token.js';
import { CREATED_AT } from './read-events.js';

/** A step's result is the JSON that is stored. */
export interface FinishedStep {
  readonly key: string;
  readonly resultJson: string;
}

export interface AppendRequest {
  readonly taskId: string;
  readonly leaseToken: string;
  /** 1, 2, 3… within the lease; a repeated batch is stored once. Absent: each event has a key, once. */
  readonly batchSeq?: number;
  readonly events: readonly NewEvent[];
  /** The step that the last event finishes. */
  readonly step?: FinishedStep;
  /** Absent: the worker that holds the lease. */
  readonly principalId?: string;
}

export interface Appended {
  readonly outcome: 'stored';
  readonly events: readonly StoredEvent[];
  readonly leaseExpiresAt: string;
  readonly cancellationRequested: boolean;
}

/** `refused`: ask `decide` for the reason. `locked`: another session changes the task now; try again. */
export type AppendOutcome = Appended | { readonly outcome: 'refused' } | { readonly outcome: 'locked' };

/**
 * Events of many running tasks in one transaction of one statement. The conditions of the UPDATE are `decide`'s for an append
 * and a finished step, said in SQL (a property test shows that they agree). A step that is stored after the snapshot of this
 * statement has changed `batch_seq`, which is compared again under the lock. Rows are locked in task-id order, and rows locked by others are skipped,
 * so no task waits for the writer of another. At most one request for each task. Keys that are stored after the snapshot have
 * raised `revision`: then, and where a key is stored already, `decide` says which events are new. The `coalesce` is for the planner:
 * otherwise it expects a single row from the many conditions, and joins in quadratic time of the batch. `$11` is the limit.
 */
function appendOf(name: string, { request, isWanted }: { request: string; isWanted: string }): Statement {
  return {
    name,
    text: `WITH ${request}, event AS MATERIALIZED (
      SELECT * FROM unnest($12::uuid[], $13::int[], $14::text[], $15::json[], $16::text[], $17::text[])
        AS e (task_id, position, type, payload, principal_id, event_key)
    ), locked AS MATERIALIZED (
      SELECT t.task_id, t.attempt_base, t.revision FROM taskbridge.proj_tasks t WHERE ${isWanted}
      ORDER BY t.task_id FOR UPDATE SKIP LOCKED
    ), appended AS (
      UPDATE taskbridge.proj_tasks t SET
        head_event_id = t.head_event_id + r.event_count, progress = coalesce(r.progress, t.progress),
        batch_seq = coalesce(r.batch_seq, t.batch_seq), lease_expires_at = clock_timestamp() + make_interval(secs => r.lease_seconds),
        attempt_base = CASE WHEN r.step_key IS NULL THEN t.attempt_base ELSE t.head_event_id + r.event_count END,
        updated_at = clock_timestamp(), revision = t.revision + 1
      FROM locked l JOIN request r USING (task_id)
      WHERE t.task_id = l.task_id AND coalesce(t.lease_token = r.lease_token AND t.lease_expires_at > clock_timestamp()
        AND (t.batch_seq = r.batch_seq - 1 OR r.batch_seq IS NULL) AND t.head_event_id + r.event_count < $11
        AND (r.voids_from IS NULL OR (r.voids_from >= t.attempt_base AND r.voids_to <= t.head_event_id))
        AND (r.step_key IS NULL OR NOT EXISTS (
          SELECT FROM taskbridge.entries_steps s WHERE s.task_id = t.task_id AND s.step_key = r.step_key))
        AND (r.batch_seq IS NOT NULL OR (t.revision = l.revision AND NOT EXISTS (
          SELECT FROM event e JOIN taskbridge.entries_event_keys k USING (task_id, event_key)
          WHERE e.task_id = t.task_id AND k.attempt = t.attempt))), false)
      RETURNING t.task_id, t.head_event_id - r.event_count AS base, t.attempt, t.lease_number, r.batch_seq,
        t.correlation_id, l.attempt_base, t.worker_id, t.lease_expires_at, t.cancel_requested_at IS NOT NULL AS cancellation_requested
    ), stored AS (
      INSERT INTO taskbridge.events (task_id, event_id, type, payload, attempt, lease_number, batch_seq, correlation_id,
        causation_id, principal_id)
      SELECT a.task_id, a.base + e.position, e.type, e.payload, a.attempt, a.lease_number, a.batch_seq, a.correlation_id,
        nullif(a.attempt_base, 0), coalesce(e.principal_id, 'worker:' || a.worker_id)
      FROM appended a JOIN event e USING (task_id)
      RETURNING task_id, event_id, ${CREATED_AT}
    ), stepped AS (
      INSERT INTO taskbridge.entries_steps (task_id, step_key, result, event_id, attempt)
      SELECT a.task_id, r.step_key, r.step_result, a.base + r.event_count, a.attempt
      FROM appended a JOIN request r USING (task_id) WHERE r.step_key IS NOT NULL
    ), keyed AS (
      INSERT INTO taskbridge.entries_event_keys (task_id, attempt, event_key, event_id)
      SELECT a.task_id, a.attempt, e.event_key, a.base + e.position
      FROM appended a JOIN event e USING (task_id) WHERE e.event_key IS NOT NULL
    )
    SELECT r.task_id, a.base, a.cancellation_requested,
      to_char(a.lease_expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS lease_expires_at,
      s.event_id, s.created_at,
      l.task_id IS NULL AND r.task_id IN (SELECT t.task_id FROM taskbridge.proj_tasks t WHERE ${isWanted}) AS skipped
    FROM request r LEFT JOIN locked l USING (task_id) LEFT JOIN appended a USING (task_id) LEFT JOIN stored s USING (task_id)`,
  };
}

const APPEND = appendOf('append-batch', {
  request: `request AS (
      SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::float8[], $6::bigint[], $7::bigint[], $8::text[], $9::json[],
        $10::float8[])
        AS r (task_id, lease_token, batch_seq, event_count, progress, voids_from, voids_to, step_key, step_result, lease_seconds)
    )`,
  isWanted: 't.task_id = ANY ($1::uuid[])',
});

/** The same for a single task, a tenth faster than arrays of one. A lone writer waits for nothing else. */
const APPEND_TO_ONE = appendOf('append-to-one', {
  request: `request AS NOT MATERIALIZED (
      SELECT $1::uuid AS task_id, $2::text AS lease_token, $3::int AS batch_seq, $4::int AS event_count, $5::float8 AS progress,
        $6::bigint AS voids_from, $7::bigint AS voids_to, $8::text AS step_key, $9::json AS step_result,
        $10::float8 AS lease_seconds
    )`,
  isWanted: 't.task_id = $1::uuid',
});

interface AppendRow {
  task_id: string;
  base: string | null;
  cancellation_requested: boolean | null;
  lease_expires_at: string | null;
  event_id: string | null;
  created_at: string | null;
  /** The task exists, and another session had locked its row. */
  skipped: boolean | null;
}

/** One outcome for each request, in their order. `leaseSeconds`: of tokens that name no length. */
export async function appendBatch(
  db: Queryable,
  requests: readonly AppendRequest[],
  limits: { readonly leaseSeconds: number; readonly maxEventsPerTask: number },
): Promise<readonly AppendOutcome[]> {
  const events = requests.flatMap((request) =>
    request.events.map((event, index) => ({ request, event, position: index + 1 })),
  );
  const columns = [
    requests.map((r) => r.taskId),
    requests.map((r) => r.leaseToken),
    requests.map((r) => r.batchSeq ?? null),
    requests.map((r) => r.events.length),
    requests.map((r) => lastProgress(r.events)),
    requests.map((r) => furthest(r.events, Math.min)),
    requests.map((r) => furthest(r.events, Math.max)),
    requests.map((r) => r.step?.key ?? null),
    requests.map((r) => r.step?.resultJson ?? null),
    requests.map((r) => leaseSecondsOf(r.leaseToken) ?? limits.leaseSeconds),
  ];
  const isOne = requests.length === 1;
  const rows = await db.query<AppendRow>(isOne ? APPEND_TO_ONE : APPEND, [
    ...(isOne ? columns.flat() : columns),
    limits.maxEventsPerTask,
    events.map((e) => e.request.taskId),
    events.map((e) => e.position),
    events.map((e) => e.event.type),
    events.map((e) => e.event.json),
    events.map((e) => e.request.principalId ?? null),
    events.map((e) => e.event.key ?? null),
  ]);
  const byTask = Map.groupBy(rows, (row) => row.task_id);
  return requests.map((request) => outcomeOf(request, byTask.get(request.taskId) ?? []));
}

function outcomeOf(request: AppendRequest, rows: readonly AppendRow[]): AppendOutcome {
  const first = rows[0];
  if (first?.skipped) return { outcome: 'locked' };
  if (!first || first.base === null) return { outcome: 'refused' };
  const base = Number(first.base);
  const createdAt = new Map(rows.map((row) => [Number(row.event_id), row.created_at ?? '']));
  return {
    outcome: 'stored',
    events: request.events.map((event, index) => {
      const eventId = base + index + 1;
      return new StoredEvent(request.taskId, eventId, event.type, createdAt.get(eventId) ?? '', event.json);
    }),
    leaseExpiresAt: first.lease_expires_at ?? '',
    cancellationRequested: first.cancellation_requested === true,
  };
}

function furthest(events: readonly NewEvent[], of: (...ids: number[]) => number): number | null {
  const voided = events.map(supersededBy).filter((id) => id !== undefined);
  return voided.length > 0 ? of(...voided) : null;
}

function lastProgress(events: readonly NewEvent[]): number | null {
  return events.findLast((event) => event.type === 'TASK_PROGRESS')?.payload.progress ?? null;
}
