import type { Attachment } from '#protocol/snapshots.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import { createdAttachmentsOf } from './attachments.js';

/** Index: the primary key. */
const READ: Statement = {
  name: 'read-task-content',
  text: `SELECT t.task_type, t.input::text AS input, ${createdAttachmentsOf('t.task_id')}
    FROM taskbridge.proj_tasks t WHERE t.task_id = $1`,
};

/** What the create of a task sent, without its metadata. */
export interface StoredContent {
  readonly taskType: string;
  readonly inputJson: string | null;
  readonly attachments: readonly Attachment[];
}

export async function readContent(db: Queryable, taskId: string): Promise<StoredContent | undefined> {
  const [row] = await db.query<{ task_type: string; input: string | null; attachments: readonly Attachment[] | null }>(
    READ,
    [taskId],
  );
  return row && { taskType: row.task_type, inputJson: row.input, attachments: row.attachments ?? [] };
}
