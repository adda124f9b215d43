import { marked, storedJson } from '#protocol/exact-json.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import { JsonText, writeObject } from '../../json/json-text.js';
import type { Question } from '../domain/suspension.js';

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
