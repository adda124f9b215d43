import type { TaskStatus } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { AskedQuestion } from '../domain/suspension.js';

/** The facts that decide about an action, from one snapshot. */
export interface FoundForAction {
  readonly task: { readonly status: TaskStatus; readonly isAside: boolean };
  /** The receipt of this action, when it was accepted before. */
  readonly receipt: { readonly fingerprint: string } | undefined;
  /** Absent: the task never asked under this id. */
  readonly question: AskedQuestion | undefined;
}

/** Index: the primary keys. With and without the lock of the task's row. */
const FIND: Statement = {
  name: 'find-for-action',
  text: `SELECT t.status, t.aside_code IS NOT NULL AS is_aside, r.fingerprint, s.allowed_actions, s.state = 'open' AS is_open,
      s.state = 'expired' OR (s.state = 'open' AND coalesce(s.expires_at <= clock_timestamp(), false)) AS is_expired,
      to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS now
    FROM taskbridge.proj_tasks t
    LEFT JOIN taskbridge.entries_action_receipts r ON r.task_id = t.task_id AND r.client_action_id = $2
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
    fingerprint: string | null;
    allowed_actions: string[] | null;
    is_open: boolean;
    is_expired: boolean;
    now: string;
  }>(FIND, [taskId, action.clientActionId, action.suspendId]);
  if (!row) return undefined;
  const { status, is_aside, fingerprint, allowed_actions, is_open, is_expired, now } = row;
  return {
    task: { status, isAside: is_aside },
    receipt: fingerprint === null ? undefined : { fingerprint },
    question:
      allowed_actions === null
        ? undefined
        : { allowedActions: allowed_actions, isOpen: is_open, isExpired: is_expired, now },
  };
}
