import type { WaitingFor } from '#protocol/snapshots.js';
import { isLive } from '../../database/live-replica.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { LimitsByType } from '../domain/limits.js';

/**
 * A worker lives when it has claimed within a minute, or holds a lease: a busy worker claims nothing. Every live replica says which types
 * it executes itself. Indexes: the primary keys, proj_workers_seen, proj_tasks_running.
 */
const FIND: Statement = {
  name: 'find-waits',
  text: `WITH due AS MATERIALIZED (
      SELECT t.task_id, t.task_type, t.tenant_id, t.owner_id, t.concurrency_key, t.rate_key, t.resuming,
        EXISTS (SELECT FROM taskbridge.entries_steps s WHERE s.task_id = t.task_id) AS has_steps
      FROM taskbridge.proj_tasks t WHERE t.task_id = ANY ($1::uuid[]) AND t.claimable_at <= clock_timestamp()
    ), counted AS MATERIALIZED (
      SELECT due.task_id, k.* FROM due CROSS JOIN LATERAL taskbridge.limits_of(due.task_type, due.tenant_id, due.owner_id,
        due.concurrency_key, due.rate_key, due.resuming, $2::jsonb -> due.task_type) AS k
    ), used AS MATERIALIZED (
      SELECT CASE WHEN $2::jsonb <> '{}' THEN
        taskbridge.use_of(ARRAY(SELECT DISTINCT key FROM counted), $2::jsonb, clock_timestamp()) END AS of
    ), live AS MATERIALIZED (
      SELECT w.task_types, 'steps' = ANY (w.features) AS knows_steps FROM taskbridge.proj_workers w
      WHERE w.seen_at > clock_timestamp() - interval '1 minute'
        OR w.worker_id IN (SELECT l.worker_id FROM taskbridge.proj_tasks l WHERE l.lease_token IS NOT NULL)
      UNION ALL
      SELECT ARRAY(SELECT json_array_elements_text(r.facts -> 'taskTypes')), true FROM taskbridge.proj_replicas r
      WHERE ${isLive('r')}
    )
    SELECT due.task_id AS "taskId", coalesce(
      (SELECT split_part(c.key, ':', 1) FROM counted c CROSS JOIN used WHERE c.task_id = due.task_id AND CASE
        WHEN c.is_rate THEN coalesce((used.of ->> c.key)::float8, c.most) < 1
        ELSE coalesce((used.of ->> c.key)::float8, 0) >= c.most END ORDER BY c.key LIMIT 1),
      CASE WHEN EXISTS (SELECT FROM live
          WHERE due.task_type = ANY (live.task_types) AND (live.knows_steps OR NOT due.has_steps))
        THEN 'capacity' ELSE 'worker' END) AS "waitingFor"
    FROM due`,
};

/** What these tasks wait for, as far as they are due. */
export async function findWaits(
  db: Queryable,
  taskIds: readonly string[],
  limits: LimitsByType,
): Promise<ReadonlyMap<string, WaitingFor>> {
  const values = [taskIds, JSON.stringify(limits)];
  const rows = await db.query<{ taskId: string; waitingFor: WaitingFor }>(FIND, values);
  return new Map(rows.map(({ taskId, waitingFor }) => [taskId, waitingFor]));
}
