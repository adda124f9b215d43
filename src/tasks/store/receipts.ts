import type { Queryable, Statement } from '../../database/queryable.js';

// Append-only facts beside the log. The caller holds the lock of the task's row, so no two callers race for a key.

const INSERT_ACTION: Statement = {
  name: 'insert-action-receipt',
  text: `INSERT INTO taskbridge.entries_action_receipts (task_id, client_action_id, suspend_id, fingerprint, principal_id, content_fingerprint)
    VALUES ($1, $2, $3, $4, $5, $6)`,
};

export async function insertActionReceipt(
  tx: Queryable,
  receipt: {
    readonly taskId: string;
    readonly clientActionId: string;
    readonly suspendId: string;
    readonly fingerprint: string;
    readonly contentFingerprint: string;
    readonly principalId: string;
  },
): Promise<void> {
  const { taskId, clientActionId, suspendId, fingerprint, principalId, contentFingerprint } = receipt;
  await tx.query(INSERT_ACTION, [taskId, clientActionId, suspendId, fingerprint, principalId, contentFingerprint]);
}

const FIND_ENDING: Statement = {
  name: 'find-lease-ending',
  text: `SELECT fingerprint, answer FROM taskbridge.entries_lease_endings WHERE task_id = $1 AND lease_token = $2`,
};

export interface LeaseEnding<Answer> {
  readonly fingerprint: string;
  readonly answer: Answer;
}

export async function findLeaseEnding<Answer>(
  tx: Queryable,
  taskId: string,
  leaseToken: string,
): Promise<LeaseEnding<Answer> | undefined> {
  const [row] = await tx.query<LeaseEnding<Answer>>(FIND_ENDING, [taskId, leaseToken]);
  return row;
}

const INSERT_ENDING: Statement = {
  name: 'insert-lease-ending',
  text: `INSERT INTO taskbridge.entries_lease_endings (task_id, lease_token, fingerprint, answer) VALUES ($1, $2, $3, $4)`,
};

export async function insertLeaseEnding(
  tx: Queryable,
  taskId: string,
  leaseToken: string,
  ending: LeaseEnding<object>,
): Promise<void> {
  await tx.query(INSERT_ENDING, [taskId, leaseToken, ending.fingerprint, JSON.stringify(ending.answer)]);
}
