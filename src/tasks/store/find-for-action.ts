import type { TaskStatus } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { AskedQuestion } from '../domain/suspension.js';

/** The receipt of an accepted action. */
export interface FoundReceipt {
  /** Null in a row of release 0.1.0. Then `answerJson` has the answer that the action gave: the text of an `Answer`. */
  readonly contentFingerprint: string | null;
  readonly answerJson: string | null;
}

/** The facts that decide about an action, from one snapshot. */
export interface FoundForAction {
  readonly task: { readonly status: TaskStatus; readonly isAside: boolean };
  /** The receipt of this action, when it was accepted before. */
  readonly receipt: FoundReceipt | undefined;
  /** Absent: the task never asked under this id. */
  readonly question: AskedQuestion | undefined;
  /** The payload of its TASK_SUSPENDED. */
  readonly questionJson: string;
}

/** Index: the primary keys. With and without the lock of the task's row. */
const FIND: Statement = {
  name: 'find-for-action',
  text: `SELECT t.status, t.aside_code IS NOT NULL AS is_aside, r.task_id IS NOT NULL AS has_receipt, r.content_fingerprint,
      a.answer::text AS answer, s.allowed_actions, s.question::text AS question,
      CASE WHEN s.state IN ('open', 'closed') AND s.expires_at <= coalesce(t.finished_at, clock_timestamp()) THEN 'expired'
        ELSE s.state END AS fate,
      to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS now
    FROM taskbridge.proj_tasks t
    LEFT JOIN taskbridge.entries_action_receipts r ON r.task_id = t.task_id AND r.client_action_id = $2
    LEFT JOIN taskbridge.proj_suspensions a ON a.task_id = t.task_id AND a.suspend_id = r.suspend_id
      AND r.content_fingerprint IS NULL
    LEFT JOIN taskbridge.proj_suspensions s ON s.task_id = t.task_id AND s.suspend_id = $3
    WHERE t.task_id = $1`,
};

/** @returns undefined when there is no such task */
export async function findForAction(
  db: Queryable,
  taskId: string,
  action: { readonly clientActionId: string; readonly suspendId: string },
): Promise<FoundForAction | undefined> {
  const [row] = await db.query<{
    status: TaskStatus;
    is_aside: boolean;
    has_receipt: boolean;
    content_fingerprint: string | null;
    answer: string | null;
    allowed_actions: string[] | null;
    question: string | null;
    fate: AskedQuestion['fate'];
    now: string;
  }>(FIND, [taskId, action.clientActionId, action.suspendId]);
  if (!row) return undefined;
  const { status, is_aside, has_receipt, content_fingerprint, answer, allowed_actions, fate, now } = row;
  return {
    task: { status, isAside: is_aside },
    receipt: has_receipt ? { contentFingerprint: content_fingerprint, answerJson: answer } : undefined,
    question: allowed_actions === null ? undefined : { allowedActions: allowed_actions, fate, now },
    questionJson: row.question ?? '{}',
  };
}
