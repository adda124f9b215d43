import type { Queryable, Statement } from '../../database/queryable.js';

/** What a claim says of its worker. */
export interface SeenWorker {
  /** With the name of its token, like `worker_id` of a task. */
  readonly workerId: string;
  /** Of its program; null: it did not say. */
  readonly version: string | null;
  readonly taskTypes: readonly string[];
  /** What it can. */
  readonly features: readonly string[];
}

// Index of both: the primary key. Rows are written in its order, so sessions do not wait for each other in a circle.

const REGISTER: Statement = {
  name: 'register-workers',
  text: `INSERT INTO taskbridge.proj_workers (principal_id, worker_id, version, task_types, features)
    SELECT 'worker:' || s."workerId", s."workerId", s.version, s."taskTypes", s.features
    FROM json_to_recordset($1::json) AS s ("workerId" text, version text, "taskTypes" text[], features text[])
    ORDER BY 1, 2
    ON CONFLICT (principal_id, worker_id) DO UPDATE SET version = excluded.version, task_types = excluded.task_types,
      features = excluded.features, seen_at = clock_timestamp()`,
};

/** A version that was seen lately is not written again. */
const REGISTER_VERSIONS: Statement = {
  name: 'register-task-type-versions',
  text: `INSERT INTO taskbridge.proj_task_type_versions AS v (task_type, version)
    SELECT DISTINCT task_type, s.version
    FROM json_to_recordset($1::json) AS s (version text, "taskTypes" text[]), unnest(s."taskTypes") AS task_type
    WHERE s.version IS NOT NULL ORDER BY 1, 2 LIMIT $2
    ON CONFLICT (task_type, version) DO UPDATE SET seen_at = clock_timestamp()
      WHERE v.seen_at < clock_timestamp() - interval '1 hour'`,
};

/** `maxVersions`: the most versions of types. */
export async function registerWorkers(db: Queryable, seen: readonly SeenWorker[], maxVersions: number): Promise<void> {
  const json = JSON.stringify(seen);
  await db.query(REGISTER, [json]);
  if (seen.some(({ version }) => version !== null)) await db.query(REGISTER_VERSIONS, [json, maxVersions]);
}
