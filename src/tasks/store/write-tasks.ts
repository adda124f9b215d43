import type { Queryable, Statement } from '../../database/queryable.js';
import type { Task } from '../domain/task.js';
import type { NewEvent } from '../domain/task-event.js';
import { leaseSecondsOf } from '../domain/lease-token.js';
import { StoredEvent } from '../domain/stored-event.js';
import { CREATED_AT } from './read-events.js';

/** One decided change: the task as it is after its events. */
export interface TaskChange {
  readonly taskId: string;
  readonly task: Task;
  readonly events: readonly NewEvent[];
  /** Of a task that goes back to the queue; null: it may be claimed at once. */
  readonly notBefore: string | null;
  /** The place of a task that goes back to the queue and may be claimed at once. */
  readonly place: number;
  /** How long a new attempt may take; null: as long as it likes. */
  readonly attemptSeconds: number | null;
  readonly workerId: string | null;
  /** The question that this change asks. */
  readonly suspendExpiresAt: string | null;
  readonly principalId: string;
  readonly correlationId: string;
  readonly causationId: number | null;
}

/** When an attempt must have ended that is claimed now: the time that a suspension left, else all that there is. */
export const attemptEnd = (seconds: string) =>
  `clock_timestamp() + make_interval(secs => coalesce(CASE WHEN t.resuming THEN t.attempt_seconds_left END, ${seconds}))`;

/**
 * Projection and events in one statement, so there is no moment between them. The rows are locked by the caller. A new lease
 * token lasts `lease_seconds` from now. The expiry of an unchanged token stays. A task that is due later gets its place then.
 */
const WRITE: Statement = {
  name: 'write-tasks',
  text: `WITH change AS (
      SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::float8[], $5::int[], $6::int[], $7::bigint[],
        $8::int[], $9::int[], $10::text[], $11::timestamptz[], $12::text[], $14::text[], $25::text[], $26::text[],
        $27::timestamptz[], $28::float8[], $13::float8[], $29::float8[]) AS c (task_id, status, head, progress, attempt, spent,
        attempt_base, lease_number, batch_seq, lease_token, not_before, cancel_reason, worker_id, run, suspend_id, suspend_expires_at,
        place, lease_seconds, attempt_seconds)
    ), changed AS (
      UPDATE taskbridge.proj_tasks t SET
        status = c.status, head_event_id = c.head, progress = c.progress, attempt = c.attempt,
        spent_attempts = c.spent, attempt_base = c.attempt_base, lease_number = c.lease_number, batch_seq = c.batch_seq,
        suspend_id = c.suspend_id, suspend_expires_at = CASE WHEN c.suspend_id = t.suspend_id THEN t.suspend_expires_at
          ELSE c.suspend_expires_at END,
        resuming = c.run = 'resuming',
        claimable_at = CASE WHEN c.run IN ('queued', 'resuming')
          THEN coalesce(c.not_before, date_trunc('milliseconds', clock_timestamp())) END,
        vtime = CASE WHEN c.run NOT IN ('queued', 'resuming') THEN t.vtime
          WHEN coalesce(c.not_before <= clock_timestamp(), true) THEN c.place END,
        lease_expires_at = CASE WHEN c.lease_token = t.lease_token THEN t.lease_expires_at
          WHEN c.lease_token IS NOT NULL THEN clock_timestamp() + make_interval(secs => c.lease_seconds) END,
        lease_token = c.lease_token, hold_key = NULL,
        attempt_deadline_at = CASE WHEN c.lease_token = t.lease_token THEN t.attempt_deadline_at
          WHEN c.lease_token IS NOT NULL THEN ${attemptEnd('c.attempt_seconds')} END,
        attempt_seconds_left = CASE WHEN c.run NOT IN ('suspended', 'resuming') THEN NULL WHEN t.lease_token IS NULL THEN t.attempt_seconds_left
          ELSE extract(epoch FROM t.attempt_deadline_at - clock_timestamp()) END,
        worker_id = CASE WHEN c.lease_token IS NOT NULL THEN coalesce(c.worker_id, t.worker_id) END,
        cancel_requested_at = CASE WHEN c.cancel_reason IS NOT NULL
          THEN coalesce(t.cancel_requested_at, clock_timestamp()) END,
        cancel_reason = c.cancel_reason,
        started_at = coalesce(t.started_at, CASE WHEN c.attempt > 0 THEN clock_timestamp() END),
        finished_at = CASE WHEN c.status NOT IN ('ACCEPTED', 'RUNNING') THEN clock_timestamp() END,
        updated_at = clock_timestamp(), revision = t.revision + 1
      FROM change c WHERE t.task_id = c.task_id
    )
    INSERT INTO taskbridge.events (task_id, event_id, type, payload, attempt, lease_number, batch_seq, correlation_id,
      causation_id, principal_id)
    SELECT * FROM unnest($15::uuid[], $16::bigint[], $17::text[], $18::json[], $19::int[], $20::int[], $21::int[],
      $22::uuid[], $23::bigint[], $24::text[])
    RETURNING task_id, event_id, ${CREATED_AT}`,
};

/** `leaseSeconds`: of tokens that name no length. */
export async function writeTasks(
  tx: Queryable,
  changes: readonly TaskChange[],
  leaseSeconds: number,
): Promise<readonly StoredEvent[]> {
  const task = changes.map((change) => change.task);
  const events = changes.flatMap((change) =>
    change.events.map((event, index) => ({
      change,
      event,
      eventId: change.task.headEventId - change.events.length + 1 + index,
    })),
  );
  const rows = await tx.query<{ task_id: string; event_id: string; created_at: string }>(WRITE, [
    changes.map((change) => change.taskId),
    task.map((t) => t.status),
    task.map((t) => t.headEventId),
    task.map((t) => t.progress),
    task.map((t) => t.attempt),
    task.map((t) => t.spentAttempts),
    task.map((t) => t.attemptBase),
    task.map((t) => t.leaseNumber),
    task.map((t) => t.batchSeq),
    task.map((t) => (t.run.state === 'leased' ? t.run.token : null)),
    changes.map((change) => change.notBefore),
    task.map((t) => t.cancellation?.reason ?? null),
    task.map((t) => (t.run.state === 'leased' ? (leaseSecondsOf(t.run.token) ?? leaseSeconds) : null)),
    changes.map((change) => change.workerId),
    events.map((e) => e.change.taskId),
    events.map((e) => e.eventId),
    events.map((e) => e.event.type),
    events.map((e) => e.event.json),
    events.map((e) => e.change.task.attempt || null),
    events.map((e) => e.change.task.leaseNumber || null),
    events.map((e) => (e.event.key === undefined ? e.change.task.batchSeq || null : null)),
    events.map((e) => e.change.correlationId),
    events.map((e) => e.change.causationId),
    events.map((e) => e.change.principalId),
    task.map((t) => (t.run.state === 'queued' && t.run.resumes ? 'resuming' : t.run.state)),
    task.map((t) => (t.run.state === 'suspended' ? t.run.suspendId : null)),
    changes.map((change) => change.suspendExpiresAt),
    changes.map((change) => change.place),
    changes.map((change) => change.attemptSeconds),
  ]);
  const createdAt = new Map(rows.map((row) => [`${row.task_id}/${row.event_id}`, row.created_at]));
  return events.map(
    ({ change, event, eventId }) =>
      new StoredEvent(
        change.taskId,
        eventId,
        event.type,
        createdAt.get(`${change.taskId}/${eventId}`) ?? '',
        event.json,
      ),
  );
}
