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

/** Index: the primary key. */
const FIND_ENDINGS: Statement = {
  name: 'find-lease-endings',
  text: `SELECT e.task_id, e.fingerprint, e.answer FROM unnest($1::uuid[], $2::text[]) AS lease (task_id, lease_token)
    JOIN taskbridge.entries_lease_endings e USING (task_id, lease_token)`,
};

export interface LeaseEnding<Answer> {
  readonly fingerprint: string;
  readonly answer: Answer;
}

/** By task: what was answered to the call that ended this lease. */
export async function findLeaseEndings<Answer>(
  tx: Queryable,
  leases: readonly { readonly taskId: string; readonly token: string }[],
): Promise<ReadonlyMap<string, LeaseEnding<Answer>>> {
  type Row = LeaseEnding<Answer> & { readonly task_id: string };
  const columns = [leases.map(({ taskId }) => taskId), leases.map(({ token }) => token)];
  const rows = await tx.query<Row>(FIND_ENDINGS, columns);
  return new Map(rows.map(({ task_id: taskId, ...ending }) => [taskId, ending]));
}

const INSERT_ENDINGS: Statement = {
  name: 'insert-lease-endings',
  text: `INSERT INTO taskbridge.entries_lease_endings (task_id, lease_token, fingerprint, answer)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::json[])`,
};

export async function insertLeaseEndings(
  tx: Queryable,
  endings: readonly (LeaseEnding<object> & { readonly taskId: string; readonly token: string })[],
): Promise<void> {
  await tx.query(INSERT_ENDINGS, [
    endings.map(({ taskId }) => taskId),
    endings.map(({ token }) => token),
    endings.map(({ fingerprint }) => fingerprint),
    endings.map(({ answer }) => JSON.stringify(answer)),
  ]);
}
