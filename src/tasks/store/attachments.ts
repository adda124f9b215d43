import type { Attachment } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';

/** The bytes of an attachment are in the attachment store, under its id. */
const MEMBERS = `json_build_object('attachmentId', a.attachment_id, 'filename', a.filename, 'contentType', a.content_type,
  'sizeBytes', a.size_bytes, 'sha256', a.sha256)`;

/**
 * A column `attachments`: the files of the task with this id as JSON, in their order. Null when there are none. Index: (task_id,
 * position).
 */
export const attachmentsOf = (taskId: string) => `(SELECT json_agg(${MEMBERS} ORDER BY a.position)
  FROM taskbridge.proj_attachments a WHERE a.task_id = ${taskId}) AS attachments`;

/** Index: the primary key. */
const FIND: Statement = {
  name: 'find-attachment',
  text: `SELECT ${MEMBERS} AS attachment FROM taskbridge.proj_attachments a WHERE a.attachment_id = $2 AND a.task_id = $1`,
};

export async function findAttachment(
  db: Queryable,
  taskId: string,
  attachmentId: string,
): Promise<Attachment | undefined> {
  const [row] = await db.query<{ attachment: Attachment }>(FIND, [taskId, attachmentId]);
  return row?.attachment;
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
