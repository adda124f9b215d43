import { marked, storedJson } from '#protocol/exact-json.js';
import type { AskedQuestion, Attachment, TaskStatus, WaitingFor } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import { JsonText } from '../../json/json-text.js';
import { isOver } from '../domain/task.js';
import { isPaused } from './type-policies.js';
import { attachmentsOf } from './attachments.js';
import { RERUNS } from './reruns.js';
import { QUESTIONS } from './suspensions.js';
import { IS_HELD, jsonTextIn } from './task-row.js';
import type { TaskIdentity } from '../domain/task-identity.js';

/** A task in the form of its snapshot. */
export interface TaskView {
  readonly identity: TaskIdentity;
  readonly status: TaskStatus;
  readonly headEventId: number;
  readonly revision: number;
  /** The boundary: no later event voids what is up to it. */
  readonly settledEventId: number;
  readonly input: JsonText | null;
  readonly metadata: JsonText | null;
  readonly attempt: number;
  /** Attempts that may still fail or be lost before the task does; 0 when it is over. */
  readonly attemptsLeft: number;
  readonly cancellationRequested: boolean;
  /** Why the task was set aside; null: it was not. */
  readonly asideCode: string | null;
  /** What it waits for, as far as its row says. */
  readonly waitingFor: WaitingFor | null;
  /** Whether it waits for a claim. */
  readonly isDue: boolean;
  /** The task that this one runs again. */
  readonly rerunOf: string | null;
  /** Tasks that run this one again, newest first; undefined where they were not asked for. */
  readonly reruns: readonly string[] | undefined;
  /** Its questions, oldest first; undefined where they were not asked for. */
  readonly questions: readonly AskedQuestion[] | undefined;
  readonly progress: number | null;
  readonly attachments: readonly Attachment[];
  /** The payload of TASK_SUSPENDED, while the question is open. */
  readonly openSuspension: JsonText | null;
  /** The result of TASK_COMPLETED. */
  readonly result: JsonText | null;
  /** The payload of TASK_FAILED. */
  readonly failure: JsonText | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
  /** Present: the reader may see whose it is. */
  readonly showsOwner?: boolean;
}

export interface ViewRow {
  task_id: string;
  tenant_id: string;
  owner_id: string;
  task_type: string;
  client_request_id: string;
  correlation_id: string;
  status: TaskStatus;
  head_event_id: string;
  revision: string;
  attempt_base: string;
  input: string | null;
  metadata: string | null;
  attempt: number;
  spent_attempts: number;
  max_attempts: number | null;
  cancel_requested: boolean;
  aside_code: string | null;
  waiting_for: WaitingFor | null;
  is_due: boolean | null;
  rerun_of: string | null;
  reruns?: readonly string[];
  questions?: readonly AskedQuestion[] | null;
  progress: number | null;
  terminal_payload: string | null;
  open_suspension: string | null;
  attachments: readonly Attachment[] | null;
  created_at: Date;
  updated_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
}

/** A lease and a question take a task out of the queue. What a task waits for that is due, its row does not say alone. */
const WAITS = `CASE WHEN t.aside_code IS NOT NULL THEN 'operator' WHEN t.suspend_id IS NOT NULL THEN 'answer'
    WHEN t.finished_at IS NULL AND t.lease_token IS NULL AND ${isPaused('t.task_type')} THEN 'paused'
    WHEN t.claimable_at > clock_timestamp() THEN CASE WHEN t.attempt > 0 THEN 'retry' ELSE 'start_time' END
    WHEN ${IS_HELD} THEN split_part(t.hold_key, ':', 1) END AS waiting_for,
  t.aside_code IS NULL AND t.claimable_at <= clock_timestamp() AS is_due`;

const TASK_STATE = `t.task_id, t.tenant_id, t.owner_id, t.task_type, t.client_request_id, t.correlation_id, t.status,
  t.head_event_id, t.revision, t.attempt_base, t.metadata::text AS metadata, t.attempt, t.spent_attempts, t.max_attempts, t.cancel_requested_at IS NOT NULL AS cancel_requested, t.aside_code, t.rerun_of, t.progress,
  ${WAITS}, s.question::text AS open_suspension, t.created_at, t.updated_at, t.started_at, t.finished_at`;

/**
 * The result and the failure are only in the terminal event, which is the last. PostgreSQL must not look into payloads: it
 * refuses U+0000 and half characters in them.
 */
export const VIEW_COLUMNS = `${TASK_STATE},
  e.payload::text AS terminal_payload, ${attachmentsOf('t.task_id')}`;

/** The same without the result and the attachments, which may be large. */
export const STATE_COLUMNS = `${TASK_STATE}, NULL AS attachments,
  CASE WHEN t.status = 'FAILED' THEN e.payload::text END AS terminal_payload`;
export const VIEW_JOINS = `LEFT JOIN taskbridge.events e
    ON t.finished_at IS NOT NULL AND e.task_id = t.task_id AND e.event_id = t.head_event_id
  LEFT JOIN taskbridge.proj_suspensions s ON s.task_id = t.task_id AND s.suspend_id = t.suspend_id`;

/** Index: the primary keys. */
const READ: Statement = {
  name: 'read-task',
  text: `SELECT ${VIEW_COLUMNS}, t.input::text AS input, ${RERUNS}, ${QUESTIONS} FROM taskbridge.proj_tasks t ${VIEW_JOINS} WHERE t.task_id = $1`,
};

/** The attempts of a task of this type that may fail or be lost. `ofTask`: what its create asked for. */
export type MaxAttempts = (taskType: string, ofTask: number | null) => number;

export async function readTaskView(
  db: Queryable,
  taskId: string,
  maxAttempts: MaxAttempts,
): Promise<TaskView | undefined> {
  const [row] = await db.query<ViewRow>(READ, [taskId]);
  return row && taskView(row, maxAttempts);
}

/** Index: the primary keys. */
const READ_MANY: Statement = {
  name: 'read-tasks',
  text: `SELECT ${VIEW_COLUMNS}, NULL AS input FROM taskbridge.proj_tasks t ${VIEW_JOINS} WHERE t.task_id = ANY ($1::uuid[])`,
};

/** Those of the tasks that are there, in any order. */
export async function readTaskViews(
  db: Queryable,
  taskIds: readonly string[],
  maxAttempts: MaxAttempts,
): Promise<readonly TaskView[]> {
  return (await db.query<ViewRow>(READ_MANY, [taskIds])).map((row) => taskView(row, maxAttempts));
}

export function taskView(row: ViewRow, maxAttempts: MaxAttempts): TaskView {
  const { status, terminal_payload: payload } = row;
  const headEventId = Math.max(0, Number(row.head_event_id));
  return {
    identity: {
      taskId: row.task_id,
      tenantId: row.tenant_id,
      ownerId: row.owner_id,
      taskType: row.task_type,
      clientRequestId: row.client_request_id,
      correlationId: row.correlation_id,
    },
    status,
    headEventId,
    revision: Number(row.revision),
    settledEventId: Math.max(0, Math.min(headEventId, Number(row.attempt_base))),
    input: jsonTextIn(row.input),
    metadata: jsonTextIn(row.metadata),
    attempt: row.attempt,
    attemptsLeft: isOver(status) ? 0 : Math.max(1, maxAttempts(row.task_type, row.max_attempts) - row.spent_attempts),
    cancellationRequested: row.cancel_requested,
    asideCode: row.aside_code,
    waitingFor: isOver(status) && row.aside_code === null ? null : row.waiting_for,
    isDue: row.is_due === true,
    // What is completed is done, whatever its handler said last.
    rerunOf: row.rerun_of,
    reruns: row.reruns,
    questions: row.questions ?? undefined,
    progress: status === 'COMPLETED' ? 100 : row.progress,
    attachments: row.attachments ?? [],
    openSuspension: jsonTextIn(row.open_suspension),
    result: status === 'COMPLETED' && payload !== null ? resultIn(payload) : null,
    failure: status === 'FAILED' ? jsonTextIn(payload) : null,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  };
}

const BEFORE_RESULT = '{"result":';

/** The result, cut out of the payload of TASK_COMPLETED. It is the only member, and may be too large to parse. */
function resultIn(payload: string): JsonText | null {
  if (payload.startsWith(BEFORE_RESULT)) return new JsonText(payload.slice(BEFORE_RESULT.length, -1));
  // The payload differs from what this service writes, so it was written by hand.
  const result = (JSON.parse(marked(payload)) as { result?: unknown } | null)?.result;
  return result === undefined ? null : new JsonText(storedJson(result));
}

/** The owner of a task, and the state of its log: the facts that a stream needs at its beginning. */
export interface TaskHead {
  readonly identity: TaskIdentity;
  readonly headEventId: number;
  readonly status: TaskStatus;
  /** Why the task was set aside; null: it was not. */
  readonly asideCode: string | null;
}

const HEAD: Statement = {
  name: 'read-task-head',
  text: `SELECT t.task_id, t.tenant_id, t.owner_id, t.task_type, t.client_request_id, t.correlation_id, t.status,
    t.head_event_id, t.aside_code FROM taskbridge.proj_tasks t WHERE t.task_id = $1`,
};

export async function readTaskHead(db: Queryable, taskId: string): Promise<TaskHead | undefined> {
  const [row] = await db.query<ViewRow>(HEAD, [taskId]);
  return (
    row && {
      identity: {
        taskId: row.task_id,
        tenantId: row.tenant_id,
        ownerId: row.owner_id,
        taskType: row.task_type,
        clientRequestId: row.client_request_id,
        correlationId: row.correlation_id,
      },
      headEventId: Math.max(0, Number(row.head_event_id)),
      status: row.status,
      asideCode: row.aside_code,
    }
  );
}
