import type { Attachment } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';

/**
 * From this position on: files of the executor, behind those of the create, of which there are at most 1 000. A column would need a
 * migration behind an online one, and a rollout that skips those could not start.
 */
const OF_EXECUTOR = 1_000_000;

/**
 * The bytes of an attachment are in the attachment store, under its `blob_id`. This is its id for everybody: the tasks that share a file
 * name it alike, so a kept step finds it. `attachment_id` is the key of the row. Rows of release 0.1.0 may have it alone.
 */
const FILE_ID = 'coalesce(a.blob_id, a.attachment_id)';
const MEMBERS = `json_strip_nulls(json_build_object('attachmentId', ${FILE_ID}, 'filename', a.filename,
  'contentType', a.content_type, 'sizeBytes', a.size_bytes, 'sha256', a.sha256,
  'source', CASE WHEN a.position >= ${OF_EXECUTOR} THEN 'worker' END))`;

/**
 * A column `attachments`: the files of the task with this id as JSON, in their order. Null when there are none. Index: (task_id,
 * position).
 */
export const attachmentsOf = (taskId: string) => `(SELECT json_agg(${MEMBERS} ORDER BY a.position)
  FROM taskbridge.proj_attachments a WHERE a.task_id = ${taskId}) AS attachments`;

/** The same without those of the executor: the files of the create. */
export const createdAttachmentsOf = (taskId: string) => `(SELECT json_agg(${MEMBERS} ORDER BY a.position)
  FROM taskbridge.proj_attachments a WHERE a.task_id = ${taskId} AND a.position < ${OF_EXECUTOR}) AS attachments`;

/** Index: (task_id, position). */
const FIND: Statement = {
  name: 'find-attachment',
  text: `SELECT ${MEMBERS} AS attachment FROM taskbridge.proj_attachments a WHERE a.task_id = $1 AND ${FILE_ID} = $2`,
};

export async function findAttachment(
  db: Queryable,
  taskId: string,
  attachmentId: string,
): Promise<Attachment | undefined> {
  const [row] = await db.query<{ attachment: Attachment }>(FIND, [taskId, attachmentId]);
  return row?.attachment;
}

/**
 * Index: (task_id, position). The lock keeps the bytes: who removes the last row that names them waits, and then sees the new row.
 * `$3`: also those of the executor.
 */
const SHARE: Statement = {
  name: 'share-attachments',
  text: `INSERT INTO taskbridge.proj_attachments (task_id, tenant_id, owner_id, position, attachment_id, blob_id,
      filename, content_type, size_bytes, sha256)
    SELECT $1, tenant_id, owner_id, position, gen_random_uuid(), coalesce(blob_id, attachment_id), filename, content_type,
      size_bytes, sha256
    FROM (SELECT * FROM taskbridge.proj_attachments WHERE task_id = $2 AND ($3 OR position < ${OF_EXECUTOR})
      ORDER BY position FOR KEY SHARE) AS shared`,
};

/** Gives a new task the files of another one of its owner. No byte is copied. */
export async function shareAttachments(
  tx: Queryable,
  taskId: string,
  sourceId: string,
  { ofExecutor }: { readonly ofExecutor: boolean },
): Promise<void> {
  await tx.query(SHARE, [taskId, sourceId, ofExecutor]);
}

const INSERT: Statement = {
  name: 'insert-attachments',
  text: `INSERT INTO taskbridge.proj_attachments (task_id, tenant_id, owner_id, position, attachment_id, blob_id,
      filename, content_type, size_bytes, sha256)
    SELECT $1, $2, $3, f.position - 1, f.attachment_id, f.attachment_id, f.filename, f.content_type, f.size_bytes, f.sha256
    FROM unnest($4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::text[]) WITH ORDINALITY
      AS f (attachment_id, filename, content_type, size_bytes, sha256, position)`,
};

/** Inserts them in the transaction that inserts the task. */
export async function insertAttachments(
  tx: Queryable,
  task: { readonly taskId: string; readonly tenantId: string; readonly ownerId: string },
  files: readonly Attachment[],
): Promise<void> {
  await tx.query(INSERT, [
    task.taskId,
    task.tenantId,
    task.ownerId,
    files.map((file) => file.attachmentId),
    files.map((file) => file.filename),
    files.map((file) => file.contentType),
    files.map((file) => file.sizeBytes),
    files.map((file) => file.sha256),
  ]);
}

/** Index: (task_id, position). The task's row is locked, so its files stay as they are. */
const ATTACHED: Statement = {
  name: 'find-attached-files',
  text: `SELECT ${MEMBERS} AS attachment FROM taskbridge.proj_attachments a WHERE a.task_id = $1 AND a.position >= ${OF_EXECUTOR}`,
};

/** The files that executors of the task attached. */
export async function attachedFiles(tx: Queryable, taskId: string): Promise<readonly Attachment[]> {
  const rows = await tx.query<{ attachment: Attachment }>(ATTACHED, [taskId]);
  return rows.map(({ attachment }) => attachment);
}

/** Index: (task_id, position). A trigger notes the bytes of a row that goes, and the sweeper removes them. */
const REMOVE: Statement = {
  name: 'remove-attached-file',
  text: `DELETE FROM taskbridge.proj_attachments a WHERE a.task_id = $1 AND ${FILE_ID} = $2`,
};

export async function removeAttachedFile(tx: Queryable, taskId: string, attachmentId: string): Promise<void> {
  await tx.query(REMOVE, [taskId, attachmentId]);
}

/** Behind all other files of the task. Index: (task_id, position). */
const ATTACH: Statement = {
  name: 'attach-file',
  text: `INSERT INTO taskbridge.proj_attachments (task_id, tenant_id, owner_id, position, attachment_id, blob_id,
      filename, content_type, size_bytes, sha256)
    SELECT $1, $2, $3, greatest((SELECT max(position) + 1 FROM taskbridge.proj_attachments WHERE task_id = $1), ${OF_EXECUTOR}),
      $4, $4, $5, $6, $7, $8`,
};

export async function attachFile(
  tx: Queryable,
  task: { readonly taskId: string; readonly tenantId: string; readonly ownerId: string },
  file: Attachment,
): Promise<void> {
  await tx.query(ATTACH, [
    task.taskId,
    task.tenantId,
    task.ownerId,
    file.attachmentId,
    file.filename,
    file.contentType,
    file.sizeBytes,
    file.sha256,
  ]);
}
