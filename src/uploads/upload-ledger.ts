import type { Queryable, Statement } from '../database/queryable.js';

// The life of an id in proj_uploads. It is recorded first. Then the transaction that makes the task settles it. Or it is
// abandoned, its bytes are removed, and its row goes. Settling and abandoning exclude each other by the lock of the row.

/** Runs before the first byte, so all bytes in the store have a row here or a task. */
const BEGIN: Statement = {
  name: 'begin-upload',
  text: 'INSERT INTO taskbridge.proj_uploads (attachment_id) VALUES ($1)',
};

export async function beginUpload(db: Queryable, attachmentId: string): Promise<void> {
  await db.query(BEGIN, [attachmentId]);
}

const SETTLE: Statement = {
  name: 'settle-uploads',
  text: `DELETE FROM taskbridge.proj_uploads WHERE attachment_id = ANY ($1::uuid[]) AND NOT abandoned
    RETURNING attachment_id`,
};

/** In the transaction that gives them to a task. @returns whether all of them were still there to be given */
export async function settleUploads(tx: Queryable, attachmentIds: readonly string[]): Promise<boolean> {
  return (await tx.query(SETTLE, [attachmentIds])).length === attachmentIds.length;
}

/** Waits for a transaction that may still settle them, also one whose COMMIT got no answer. */
const ABANDON: Statement = {
  name: 'abandon-uploads',
  text: `UPDATE taskbridge.proj_uploads SET abandoned = true, touched_at = clock_timestamp()
    WHERE attachment_id = ANY ($1::uuid[]) RETURNING attachment_id`,
};

/** @returns the files without a task: their bytes may be removed */
export async function abandonUploads(db: Queryable, attachmentIds: readonly string[]): Promise<readonly string[]> {
  return idsOf(await db.query(ABANDON, [attachmentIds]));
}

/**
 * Index: proj_uploads_touched. Skips rows that another replica works on. An abandoned row that is still there after an hour comes
 * from a dead replica, or from a store that did not answer.
 */
const ABANDON_STALE: Statement = {
  name: 'abandon-stale-uploads',
  text: `UPDATE taskbridge.proj_uploads SET abandoned = true, touched_at = clock_timestamp() WHERE attachment_id IN (
      SELECT attachment_id FROM taskbridge.proj_uploads WHERE touched_at <= clock_timestamp() - interval '1 hour'
      ORDER BY touched_at LIMIT $1 FOR UPDATE SKIP LOCKED
    ) RETURNING attachment_id`,
};

/** Uploads without a task for an hour, longer than any request lasts. */
export async function abandonStaleUploads(db: Queryable, limit: number): Promise<readonly string[]> {
  return idsOf(await db.query(ABANDON_STALE, [limit]));
}

const FORGET: Statement = {
  name: 'forget-uploads',
  text: 'DELETE FROM taskbridge.proj_uploads WHERE attachment_id = ANY ($1::uuid[]) AND abandoned',
};

/** When their bytes are removed. */
export async function forgetUploads(db: Queryable, attachmentIds: readonly string[]): Promise<void> {
  await db.query(FORGET, [attachmentIds]);
}

function idsOf(rows: readonly object[]): readonly string[] {
  return (rows as readonly { attachment_id: string }[]).map((row) => row.attachment_id);
}
