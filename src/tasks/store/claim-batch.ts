import type { Attachment } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { JsonText } from '../../json/json-text.js';
import { StoredEvent } from '../domain/stored-event.js';
import { newEvent } from '../domain/task-event.js';
import type { TaskIdentity } from '../domain/task-identity.js';
import { attachmentsOf } from './attachments.js';
import type { LimitsByType } from '../domain/limits.js';
import { offsetOf } from './places.js';
import { isPaused } from './type-policies.js';
import { attemptEnd } from './write-tasks.js';
import { CREATED_AT } from './read-events.js';
import { jsonTextIn, TASK_COLUMNS, taskRecord, type TaskRecord, type TaskRow } from './task-row.js';

/** Tasks are locked by others while a claim looks. Above its limit it looks at this many of each type. */
const MORE_THAN_WANTED = 50;

export interface WantedTasks {
  readonly taskTypes: readonly string[];
  /** For each type: how many claimed tasks ago it had its turn. Types take turns, and a type waits longer for its turn the lower its priority. */
  readonly idle: readonly number[];
  /** Absent: of all tenants. */
  readonly tenants?: readonly string[] | undefined;
  /** Without them: only tasks that have no finished step. */
  readonly steps: boolean;
  /** For each type: how long an attempt may take; null: as long as it likes. */
  readonly attemptSeconds: readonly (number | null)[];
  /** Of the types that have limits; null where none has. */
  readonly limits: LimitsByType | null;
}

/**
 * `line`: the first tasks of each type in the order of places, then in turns of the types. A statement for each tenant keeps that order
 * where a worker may have the tasks of some tenants only. Index: proj_tasks_queue. Parameters: `$1` types, `$2` idle, `$3` steps, `$4`
 * the limit; `tenants` is the one of the tenants. The subquery on steps is no EXISTS: PostgreSQL would read all steps there are.
 */
const lineOf = (tenants: string | null) => `line AS (
      SELECT first.task_id, first.claimable_at, row_number() OVER in_type
        + max(${offsetOf('first.priority')}) OVER in_type - wanted.idle AS turn
      FROM (SELECT * FROM unnest($1::text[], $2::float8[]) AS w (task_type, idle) WHERE NOT ${isPaused('w.task_type')}) AS wanted
      ${tenants ? `CROSS JOIN unnest(${tenants}::text[]) AS tenant (tenant_id)` : ''} CROSS JOIN LATERAL (
        SELECT t.task_id, t.task_type, t.vtime, t.priority, t.claimable_at FROM taskbridge.proj_tasks t
        WHERE t.task_type = wanted.task_type ${tenants ? 'AND t.tenant_id = tenant.tenant_id' : ''}
          AND t.vtime IS NOT NULL AND t.claimable_at <= clock_timestamp()
          AND ($3 OR (SELECT true FROM taskbridge.entries_steps s WHERE s.task_id = t.task_id LIMIT 1) IS NULL)
        ORDER BY t.task_type, t.vtime LIMIT $4 * 2 + ${MORE_THAN_WANTED}) first
      WINDOW in_type AS (PARTITION BY first.task_type ORDER BY first.vtime, first.claimable_at ROWS UNBOUNDED PRECEDING)
    )`;

/** The same for types with limits: the locks of their keys are taken, and tasks of full keys leave the queue (migrations/0009). */
const limitedLineOf = (tenants: string, limits: string) => `line AS MATERIALIZED (
      SELECT * FROM taskbridge.line_within_limits($1::text[], $2::float8[], ${tenants}::text[], $3, $4::int, ${limits}::jsonb)
    )`;

/** A deadline may have passed that the reaper has not looked at yet. */
const LOCKED = `locked AS MATERIALIZED (
      SELECT task.* FROM (SELECT * FROM line WHERE turn IS NOT NULL ORDER BY turn, claimable_at, task_id) AS line CROSS JOIN LATERAL (
        SELECT ${TASK_COLUMNS}, t.vtime - ${offsetOf('t.priority')} AS place,
          extract(epoch FROM clock_timestamp() - greatest(t.claimable_at, t.created_at))::float8 AS waited_seconds
        FROM taskbridge.proj_tasks t WHERE t.task_id = line.task_id AND t.claimable_at <= clock_timestamp()
          AND coalesce(t.deadline_at > clock_timestamp(), true)
          AND (t.started_at IS NOT NULL OR coalesce(t.start_deadline_at > clock_timestamp(), true))
        FOR UPDATE SKIP LOCKED) AS task
      LIMIT $4
    )`;

export const leaseEnd = (expiresAt: string) =>
  `to_char(${expiresAt} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS lease_expires_at`;

/** Evaluated after the sort, and so when all attempts have begun. */
const STAMPED = `CASE WHEN n.slot = (SELECT max(slot) FROM numbered)
        THEN taskbridge.stamp_buckets(ARRAY(SELECT DISTINCT b.key FROM line, unnest(line.buckets) AS b (key))) END`;

/**
 * Leases for many callers in one transaction of one statement. The conditions of the UPDATE are `decide`'s for a claim, said in SQL: a
 * property test shows that they agree. The n-th task in line is for the n-th slot. `$5` to `$8`: the slots. The joins are FULL, since
 * PostgreSQL expects one row and would read the claimed tasks once for each task that it locked.
 */
const claimOf = (name: string, line: string, held = false): Statement => ({
  name,
  text: `WITH ${line}, ${LOCKED}, numbered AS MATERIALIZED (
      SELECT *, (row_number() OVER ())::int AS slot FROM locked
    ), claimed AS (
      UPDATE taskbridge.proj_tasks t SET
        status = 'RUNNING', head_event_id = greatest(t.head_event_id, 1), attempt = t.attempt + CASE WHEN t.resuming THEN 0 ELSE 1 END,
        attempt_base = CASE WHEN t.resuming OR n.has_steps THEN t.attempt_base ELSE greatest(t.head_event_id, 1) END,
        lease_number = t.lease_number + 1, batch_seq = 0, resuming = false, claimable_at = NULL, hold_key = NULL,
        attempt_deadline_at = ${attemptEnd('($9::float8[])[array_position($1::text[], t.task_type)]')}, attempt_seconds_left = NULL,
        lease_token = t.attempt + CASE WHEN t.resuming THEN 0 ELSE 1 END || '.' || ($7::text[])[n.slot],
        lease_expires_at = clock_timestamp() + make_interval(secs => ($8::float8[])[n.slot]), worker_id = ($5::text[])[n.slot],
        started_at = coalesce(t.started_at, clock_timestamp()), updated_at = clock_timestamp(), revision = t.revision + 1
      FROM numbered n
      WHERE t.task_id = n.task_id AND coalesce(t.aside_code IS NULL AND t.lease_token IS NULL AND t.suspend_id IS NULL
        AND t.status IN ('ACCEPTED', 'RUNNING') AND t.head_event_id BETWEEN 0 AND 9007199254740991
        AND (t.status = 'ACCEPTED') = (t.head_event_id = 0), false)
      RETURNING t.task_id, t.tenant_id, t.owner_id, t.task_type, t.client_request_id, t.correlation_id, t.traceparent, t.attempt,
        t.lease_number, t.head_event_id, t.lease_token, t.lease_expires_at, t.cancel_requested_at, t.input::text AS input,
        t.metadata::text AS metadata, n.slot, n.status = 'ACCEPTED' AS is_first
    ), begun AS (
      INSERT INTO taskbridge.events (task_id, event_id, type, payload, attempt, lease_number, correlation_id, principal_id)
      SELECT task_id, 1, 'TASK_STARTED', '{}', attempt, lease_number, correlation_id, ($6::text[])[slot] FROM claimed WHERE is_first
      RETURNING task_id, ${CREATED_AT}
    )
    SELECT task_id, n.place, n.waited_seconds, n.has_steps, c.slot, c.tenant_id, c.owner_id, c.task_type,
      c.client_request_id, c.correlation_id, c.traceparent, c.attempt, c.lease_number, c.head_event_id, c.lease_token,
      ${leaseEnd('c.lease_expires_at')}, c.cancel_requested_at IS NOT NULL AS cancellation_requested, c.input, c.metadata,
      b.created_at, ${attachmentsOf('c.task_id')}${held ? `, h.hold_key, ${STAMPED}` : ', NULL AS hold_key'}
    FROM numbered n FULL JOIN claimed c USING (task_id) FULL JOIN begun b USING (task_id)
      ${held ? 'FULL JOIN (SELECT task_id, hold_key FROM line WHERE hold_key IS NOT NULL) h USING (task_id)' : ''}
    ORDER BY n.slot`,
});

export const CLAIM = claimOf('claim-tasks', lineOf(null));
export const CLAIM_OF_TENANTS = claimOf('claim-tasks-of-tenants', lineOf('$10'));
const CLAIM_WITHIN_LIMITS = claimOf('claim-tasks-within-limits', limitedLineOf('$10', '$11'), true);

/** What a leased task is made of, beside its lease. */
export interface ClaimedTask {
  readonly identity: TaskIdentity;
  readonly token: string;
  readonly attempt: number;
  readonly leaseNumber: number;
  readonly headEventId: number;
  readonly leaseExpiresAt: string;
  readonly cancellationRequested: boolean;
  readonly input: JsonText | null;
  readonly metadata: JsonText | null;
  readonly attachments: readonly Attachment[];
  readonly traceparent: string | null;
  readonly hasSteps: boolean;
  readonly waitedSeconds: number;
  /** Its place in the queue, without the offset of its priority; null where it had none. */
  readonly place: number | null;
}

/** The room for one lease of a caller. */
export interface Slot {
  readonly workerId: string;
  readonly principalId: string;
  /** What follows the attempt in the lease token. */
  readonly secret: string;
  readonly leaseSeconds: number;
}

export interface Claimed {
  /** The claimed tasks, by slot. */
  readonly tasks: ReadonlyMap<number, ClaimedTask>;
  /** TASK_STARTED of the tasks that were claimed for the first time. */
  readonly events: readonly StoredEvent[];
  /** Tasks that wait, and whose rows do not allow a claim. */
  readonly unfit: readonly string[];
  /** How many tasks left the queue, since a key of theirs is full. Others may wait behind them. */
  readonly held: number;
}

interface ClaimRow {
  task_id: string;
  place: number | null;
  waited_seconds: number;
  has_steps: boolean;
  /** From 1. Null: the row does not allow a claim; then all that follows is null, too. */
  slot: number | null;
  tenant_id: string;
  owner_id: string;
  task_type: string;
  client_request_id: string;
  correlation_id: string;
  traceparent: string | null;
  attempt: number;
  lease_number: number;
  head_event_id: string;
  lease_token: string;
  lease_expires_at: string;
  cancellation_requested: boolean;
  input: string | null;
  metadata: string | null;
  created_at: string | null;
  attachments: readonly Attachment[] | null;
  /** Of a task that left the queue: all but its id is null then. */
  hold_key: string | null;
}

/** As many tasks as there are slots, or fewer. */
export async function claimBatch(db: Queryable, wanted: WantedTasks, slots: readonly Slot[]): Promise<Claimed> {
  const plain = wanted.tenants ? CLAIM_OF_TENANTS : CLAIM;
  const rows = await db.query<ClaimRow>(wanted.limits ? CLAIM_WITHIN_LIMITS : plain, [
    ...parametersOf(wanted, slots.length),
    slots.map(({ workerId }) => workerId),
    slots.map(({ principalId }) => principalId),
    slots.map(({ secret }) => secret),
    slots.map(({ leaseSeconds }) => leaseSeconds),
    wanted.attemptSeconds,
    ...scopeOf(wanted),
  ]);
  const tasks = new Map<number, ClaimedTask>();
  const events: StoredEvent[] = [];
  const unfit: string[] = [];
  let held = 0;
  for (const row of rows) {
    if (row.hold_key !== null) held += 1;
    else if (row.slot === null) unfit.push(row.task_id);
    else tasks.set(row.slot - 1, claimedTask(row));
    if (row.created_at !== null) events.push(startedEvent(row.task_id, row.created_at));
  }
  return { tasks, events, unfit, held };
}

/** The first event of a task. */
export function startedEvent(taskId: string, createdAt: string): StoredEvent {
  return new StoredEvent(taskId, 1, 'TASK_STARTED', createdAt, newEvent('TASK_STARTED', {}).json);
}

function claimedTask(row: ClaimRow): ClaimedTask {
  return {
    identity: {
      taskId: row.task_id,
      tenantId: row.tenant_id,
      ownerId: row.owner_id,
      taskType: row.task_type,
      clientRequestId: row.client_request_id,
      correlationId: row.correlation_id,
    },
    token: row.lease_token,
    attempt: row.attempt,
    leaseNumber: row.lease_number,
    headEventId: Number(row.head_event_id),
    leaseExpiresAt: row.lease_expires_at,
    cancellationRequested: row.cancellation_requested,
    input: jsonTextIn(row.input),
    metadata: jsonTextIn(row.metadata),
    attachments: row.attachments ?? [],
    traceparent: row.traceparent,
    hasSteps: row.has_steps,
    waitedSeconds: row.waited_seconds,
    place: row.place,
  };
}

/** What bounds the claim, as the last parameters of its statement. */
function scopeOf({ tenants, limits }: WantedTasks): unknown[] {
  if (limits) return [tenants ?? null, JSON.stringify(limits)];
  return tenants ? [tenants] : [];
}

function parametersOf({ taskTypes, idle, steps }: WantedTasks, limit: number): unknown[] {
  return [taskTypes, idle, steps, limit];
}

/** A task that waits, with the facts for its handler. */
export interface WaitingRecord
  extends TaskRecord,
    Pick<ClaimedTask, 'input' | 'metadata' | 'attachments' | 'waitedSeconds' | 'place'> {
  /** When a lease that begins now ends, by the database clock. */
  readonly leaseExpiresAt: string;
}

/** The same tasks, locked and not claimed. `$5` seconds is the lease. */
const lockOf = (name: string, line: string): Statement => ({
  name,
  text: `WITH ${line}, ${LOCKED}
    SELECT locked.*, t.input::text AS input, t.metadata::text AS metadata, ${attachmentsOf('locked.task_id')},
      ${leaseEnd('(clock_timestamp() + make_interval(secs => $5))')}
    FROM locked JOIN taskbridge.proj_tasks t USING (task_id)`,
});

const LOCK = lockOf('lock-waiting-tasks', lineOf(null));
const LOCK_OF_TENANTS = lockOf('lock-waiting-tasks-of-tenants', lineOf('$6'));
const LOCK_WITHIN_LIMITS = lockOf('lock-waiting-tasks-within-limits', limitedLineOf('$6', '$7'));

export async function lockWaitingTasks(
  tx: Queryable,
  wanted: WantedTasks,
  limit: number,
  leaseSeconds: number,
): Promise<readonly WaitingRecord[]> {
  type Row = TaskRow &
    Pick<ClaimRow, 'input' | 'metadata' | 'attachments' | 'waited_seconds' | 'place' | 'lease_expires_at'>;
  const plain = wanted.tenants ? LOCK_OF_TENANTS : LOCK;
  const statement = wanted.limits ? LOCK_WITHIN_LIMITS : plain;
  const rows = await tx.query<Row>(statement, [...parametersOf(wanted, limit), leaseSeconds, ...scopeOf(wanted)]);
  return rows.map((row) => ({
    ...taskRecord(row),
    input: jsonTextIn(row.input),
    metadata: jsonTextIn(row.metadata),
    attachments: row.attachments ?? [],
    waitedSeconds: row.waited_seconds,
    place: row.place,
    leaseExpiresAt: row.lease_expires_at,
  }));
}
