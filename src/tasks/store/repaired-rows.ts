import type { Queryable, Statement } from '../../database/queryable.js';
import type { FoundEvent } from '../domain/adopt.js';
import { isOver, type Task } from '../domain/task.js';
import type { NewEvent } from '../domain/task-event.js';
import { NEXT_REVISION } from './set-aside.js';

// The reads and writes of `npm run repair`, as the owner. They delete nothing.

export interface AsideTask {
  readonly asideCode: string | null;
  readonly headEventId: number;
  readonly leaseNumber: number;
  /** The reason of a request to cancel, when there is one. */
  readonly cancelReason: string | null;
}

const LOCK: Statement = {
  name: 'lock-aside-task',
  text: `SELECT aside_code, head_event_id, lease_number, CASE WHEN cancel_requested_at IS NOT NULL
      THEN coalesce(cancel_reason, '') END AS cancel_reason
    FROM taskbridge.proj_tasks WHERE task_id = $1 FOR UPDATE`,
};

export async function lockAsideTask(tx: Queryable, taskId: string): Promise<AsideTask | undefined> {
  type Row = { aside_code: string | null; head_event_id: string; lease_number: number; cancel_reason: string | null };
  const [row] = await tx.query<Row>(LOCK, [taskId]);
  return (
    row && {
      asideCode: row.aside_code,
      headEventId: Number(row.head_event_id),
      leaseNumber: row.lease_number,
      cancelReason: row.cancel_reason,
    }
  );
}

export interface LoggedEvent extends FoundEvent {
  readonly eventId: number;
}

/** All stored events of the task, up to its head and above. The payload is parsed here: PostgreSQL would refuse U+0000. */
const LOGGED: Statement = {
  name: 'read-logged-events',
  text: `SELECT event_id, type, payload::text AS payload, attempt, lease_number FROM taskbridge.events
    WHERE task_id = $1 AND event_id > $2 ORDER BY event_id LIMIT 500`,
};

const RECEIPTS: Statement = {
  name: 'read-answered-questions',
  text: `SELECT r.suspend_id, r.client_action_id FROM taskbridge.entries_action_receipts r
    JOIN taskbridge.proj_suspensions s ON s.task_id = r.task_id AND s.suspend_id = r.suspend_id AND s.state = 'answered'
    WHERE r.task_id = $1`,
};

/** The events in the order of their ids. */
export async function* loggedEvents(tx: Queryable, taskId: string): AsyncGenerator<LoggedEvent> {
  type Row = { event_id: string; type: string; payload: string; attempt: number | null; lease_number: number | null };
  const receipts = await tx.query<{ suspend_id: string; client_action_id: string }>(RECEIPTS, [taskId]);
  const answers = new Set(receipts.map((row) => JSON.stringify([row.suspend_id, row.client_action_id])));
  let rows: readonly Row[];
  let after = '0';
  while ((rows = await tx.query<Row>(LOGGED, [taskId, after])).length > 0) {
    for (const row of rows) {
      const payload = JSON.parse(row.payload) as Partial<Record<string, unknown>> | null;
      const answer = JSON.stringify([payload?.['suspendId'], payload?.['clientActionId']]);
      yield {
        eventId: Number(row.event_id),
        type: row.type,
        payload,
        attempt: row.attempt,
        leaseNumber: row.lease_number,
        hasReceipt: answers.has(answer),
      };
      after = row.event_id;
    }
  }
}

/** The last TASK_SUSPENDED of a log. */
export interface LoggedQuestion {
  readonly eventId: number;
  readonly payload: Readonly<Record<string, unknown>>;
}

export type AddedEvent = NewEvent & { readonly eventId: number };

const ADD_EVENTS: Statement = {
  name: 'add-repairing-events',
  text: `INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
    SELECT t.task_id, e.event_id, e.type, e.payload, t.correlation_id, $5
    FROM taskbridge.proj_tasks t, unnest($2::bigint[], $3::text[], $4::json[]) AS e (event_id, type, payload)
    WHERE t.task_id = $1 ORDER BY e.event_id`,
};

/** An open question needs its row, also when its event was stored by hand. The row has the text of the event. */
const OPEN_QUESTION: Statement = {
  name: 'reopen-question',
  text: `INSERT INTO taskbridge.proj_suspensions (task_id, suspend_id, question, allowed_actions, expires_at)
    SELECT $1::uuid, $2::text, e.payload, $4::text[], $5::timestamptz
    FROM taskbridge.events e WHERE e.task_id = $1 AND e.event_id = $3
    ON CONFLICT (task_id, suspend_id) DO UPDATE SET state = 'open', answer = NULL`,
};

const CLOSE_QUESTIONS: Statement = {
  name: 'close-questions',
  text: `UPDATE taskbridge.proj_suspensions SET state = 'closed' WHERE task_id = $1 AND state = 'open'
    AND suspend_id IS DISTINCT FROM $2::text`,
};

/** The row gets a new, expired lease, so the reaper ends the attempt like any other. */
const RESTORE: Statement = {
  name: 'restore-task',
  text: `UPDATE taskbridge.proj_tasks t SET aside_code = NULL, status = $2, head_event_id = $3, progress = $4, attempt = $5::int,
      spent_attempts = $6, attempt_base = $7, lease_number = $8, batch_seq = 0,
      claimable_at = CASE WHEN $9::text IN ('queued', 'resuming') THEN date_trunc('milliseconds', clock_timestamp()) END,
      resuming = $9::text = 'resuming',
      lease_token = CASE WHEN $9::text = 'leased' THEN $5::int || '.' || gen_random_uuid() END,
      lease_expires_at = CASE WHEN $9::text = 'leased' THEN clock_timestamp() END, worker_id = NULL,
      suspend_id = $10::text, suspend_expires_at = (SELECT s.expires_at FROM taskbridge.proj_suspensions s
        WHERE s.task_id = $1 AND s.suspend_id = $10::text),
      started_at = coalesce(t.started_at, CASE WHEN $5::int > 0 THEN clock_timestamp() END),
      finished_at = CASE WHEN $9::text = 'over' THEN clock_timestamp() END, updated_at = clock_timestamp(),
      revision = ${NEXT_REVISION}
    WHERE t.task_id = $1`,
};

/** Writes the task of the log, and adds these events at their places in the log. `question`: the open one. */
export async function restoreTask(
  tx: Queryable,
  taskId: string,
  task: Task,
  added: readonly AddedEvent[],
  { question, principalId }: { readonly question: LoggedQuestion | undefined; readonly principalId: string },
): Promise<void> {
  const suspendId = task.run.state === 'suspended' ? task.run.suspendId : null;
  const resumes = task.run.state === 'queued' && task.run.resumes;
  await tx.query(ADD_EVENTS, [
    taskId,
    added.map(({ eventId }) => eventId),
    added.map(({ type }) => type),
    added.map(({ json }) => json),
    principalId,
  ]);
  await tx.query(CLOSE_QUESTIONS, [taskId, suspendId]);
  if (suspendId !== null && question !== undefined) {
    const { allowedActions, expiresAt } = question.payload;
    await tx.query(OPEN_QUESTION, [taskId, suspendId, question.eventId, allowedActions, expiresAt ?? null]);
  }
  await tx.query(RESTORE, [
    taskId,
    task.status,
    task.headEventId,
    task.progress,
    task.attempt,
    task.spentAttempts,
    task.attemptBase,
    task.leaseNumber,
    isOver(task.status) ? 'over' : resumes ? 'resuming' : task.run.state,
    suspendId,
  ]);
}
