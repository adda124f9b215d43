import { MAX_SHOWN_QUESTIONS } from '#protocol/limits.js';
import { marked, storedJson } from '#protocol/exact-json.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import { JsonText, writeObject } from '../../json/json-text.js';
import type { Question } from '../domain/suspension.js';
import { UP_TO_HEAD } from './read-events.js';

// All of these run under the lock of the task's row.

const OPEN: Statement = {
  name: 'open-suspension',
  text: `INSERT INTO taskbridge.proj_suspensions (task_id, suspend_id, question, allowed_actions, expires_at)
    SELECT $1::uuid, $2::text, $3::json, $4::text[], $5::timestamptz ON CONFLICT DO NOTHING RETURNING suspend_id`,
};

/** @returns false when the task has asked under this id before */
export async function openSuspension(
  tx: Queryable,
  taskId: string,
  { suspendId, allowedActions, expiresAt }: Question,
  json: string,
): Promise<boolean> {
  return (await tx.query(OPEN, [taskId, suspendId, json, allowedActions, expiresAt ?? null])).length === 1;
}

/** Index: the primary key of events, from the event that is given on. */
const HAS_PUT_OUT: Statement = {
  name: 'has-put-out',
  text: `SELECT FROM taskbridge.events WHERE task_id = $1 AND event_id > $2 AND ${UP_TO_HEAD}
    AND type IN ('TASK_OUTPUT', 'TASK_PROGRESS') ORDER BY event_id LIMIT 1`,
};

/** Whether there is output or progress after the event. */
export async function hasPutOut(tx: Queryable, taskId: string, afterEventId: number): Promise<boolean> {
  return (await tx.query(HAS_PUT_OUT, [taskId, afterEventId])).length > 0;
}

/** A column `questions` of a `proj_tasks t`: an open one is the last. Null without any. Index: the primary keys. */
export const QUESTIONS = `(SELECT json_agg(json_strip_nulls(json_build_object('suspendId', q.suspend_id, 'state', q.state,
      'answeredBy', q.principal_id, 'answeredAt', to_char(q.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
      'clientActionId', q.client_action_id)) ORDER BY q.created_at NULLS LAST)
    FROM (SELECT s.suspend_id, s.state, r.principal_id, r.created_at, r.client_action_id FROM taskbridge.proj_suspensions AS s
      LEFT JOIN taskbridge.entries_action_receipts AS r USING (task_id, suspend_id) WHERE s.task_id = t.task_id
      ORDER BY r.created_at DESC NULLS FIRST LIMIT ${MAX_SHOWN_QUESTIONS}) AS q) AS questions`;

const SETTLE: Statement = {
  name: 'settle-suspension',
  text: `UPDATE taskbridge.proj_suspensions SET state = $3, answer = $4
    WHERE task_id = $1 AND suspend_id = $2 AND state = 'open'`,
};

export async function settleSuspension(
  tx: Queryable,
  taskId: string,
  suspendId: string,
  state: 'answered' | 'expired' | 'closed',
  answer: Answer | null,
): Promise<void> {
  await tx.query(SETTLE, [taskId, suspendId, state, answer && writeObject(answer)]);
}

/** The answer for the handler that asked. */
export interface Answer {
  readonly suspendId: string;
  readonly clientActionId: string;
  readonly actionType: string;
  readonly payload: JsonText;
  readonly actorId: string;
}

/** The JSON of the payload of a stored answer. It is cut out, because it may be too large to parse. */
export function payloadOf({ json }: JsonText): string {
  // The other members are strings, in which quotes have a backslash before them.
  const start = json.indexOf(BEFORE_PAYLOAD);
  const end = json.lastIndexOf(',"actorId":');
  if (start >= 0 && end > start) return json.slice(start + BEFORE_PAYLOAD.length, end);
  // It was written by hand.
  return storedJson((JSON.parse(marked(json)) as { payload?: object }).payload ?? {});
}

const BEFORE_PAYLOAD = ',"payload":';

/**
 * All answers of these tasks, each the text of an `Answer`, in the order in which the questions were answered. Index: the primary
 * keys. PostgreSQL does not look into an answer: an unreadable one would block the claim of all these tasks.
 */
const ANSWERS: Statement = {
  name: 'read-answers',
  text: `SELECT s.task_id, s.answer::text AS answer FROM taskbridge.proj_suspensions s
    JOIN taskbridge.entries_action_receipts r ON r.task_id = s.task_id AND r.suspend_id = s.suspend_id
    WHERE s.task_id = ANY ($1::uuid[]) AND s.state = 'answered' ORDER BY s.task_id, r.created_at`,
};

export async function readAnswers(
  db: Queryable,
  taskIds: readonly string[],
): Promise<ReadonlyMap<string, readonly JsonText[]>> {
  const rows = await db.query<{ task_id: string; answer: string }>(ANSWERS, [taskIds]);
  const byTask = Map.groupBy(rows, (row) => row.task_id);
  return new Map([...byTask].map(([taskId, found]) => [taskId, found.map((row) => new JsonText(row.answer))]));
}
