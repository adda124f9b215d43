import type { Queryable, Statement } from '../../database/queryable.js';

/**
 * A worker lives when it has claimed within a minute, or holds a lease: a busy worker claims nothing. Indexes: the primary keys,
 * proj_workers_seen, proj_tasks_leased.
 */
const FIND: Statement = {
  name: 'find-unclaimable',
  text: `SELECT t.task_id FROM taskbridge.proj_tasks t
    WHERE t.task_id = ANY ($1::uuid[]) AND EXISTS (SELECT FROM taskbridge.entries_steps s WHERE s.task_id = t.task_id)
      AND NOT EXISTS (SELECT FROM taskbridge.proj_workers w
        WHERE w.seen_at > clock_timestamp() - interval '1 minute' AND 'steps' = ANY (w.features) AND t.task_type = ANY (w.task_types))
      AND NOT EXISTS (SELECT FROM taskbridge.proj_tasks l JOIN taskbridge.proj_workers w ON w.worker_id = l.worker_id
        WHERE l.lease_token IS NOT NULL AND 'steps' = ANY (w.features) AND t.task_type = ANY (w.task_types))`,
};

/** The tasks, of these, that have a finished step, and that no live worker which knows steps claims. */
export async function findUnclaimable(db: Queryable, taskIds: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await db.query<{ task_id: string }>(FIND, [taskIds]);
  return new Set(rows.map(({ task_id }) => task_id));
}
