import type { Queryable, Statement } from '../../database/queryable.js';

/** A remote worker as it registered. */
export interface WorkerRow {
  readonly workerId: string;
  readonly version: string | null;
  readonly taskTypes: readonly string[];
  readonly features: readonly string[];
  readonly firstSeenAt: Date;
  readonly lastSeenAt: Date;
  readonly isLive: boolean;
  readonly leases: number;
}

/** Indexes: the primary key; proj_tasks_running, which is read once. */
const LIST: Statement = {
  name: 'list-workers',
  text: `WITH held AS MATERIALIZED (
      SELECT t.worker_id, count(*)::int AS n FROM taskbridge.proj_tasks t WHERE t.lease_token IS NOT NULL GROUP BY t.worker_id
    )
    SELECT w.worker_id AS "workerId", w.version, w.task_types AS "taskTypes", w.features, w.first_seen_at AS "firstSeenAt",
      w.seen_at AS "lastSeenAt", w.seen_at > clock_timestamp() - interval '1 minute' OR held.n IS NOT NULL AS "isLive",
      coalesce(held.n, 0) AS leases
    FROM taskbridge.proj_workers w LEFT JOIN held ON held.worker_id = w.worker_id
    WHERE (w.principal_id, w.worker_id) > ('worker:' || $1::text, $1::text) AND w.seen_at > clock_timestamp() - interval '1 day'
    ORDER BY w.principal_id, w.worker_id LIMIT $2`,
};

/** Those seen within a day whose ids come after `after`, in the order of their ids. */
export function listWorkers(db: Queryable, after: string, limit: number): Promise<readonly WorkerRow[]> {
  return db.query<WorkerRow>(LIST, [after, limit]);
}
