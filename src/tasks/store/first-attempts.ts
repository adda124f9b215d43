import type { LimitsByType } from '../domain/limits.js';
import { leaseEnd } from './claim-batch.js';
import { IS_DUE, offsetOf } from './places.js';
import { CREATED_AT } from './read-events.js';
import { isPaused } from './type-policies.js';

// New tasks that are stored as claimed. What the statements write is what `decide` says of the claim of a new task: a property test
// shows that they agree. `lease_token` is null where no place is kept for the task, and `begins` is 1 where it is claimed, else 0.

/** Of a task whose create names none: the column's default. */
export const PRIORITY = '5';
export const OFFSET = offsetOf(PRIORITY);

/** Who holds the leases of the tasks that begin as soon as they are stored. */
export interface Holder {
  readonly workerId: string;
  readonly principalId: string;
  readonly leaseSeconds: number;
  /** Of the types of these tasks that have limits; null where none has. No limit is a rate. */
  readonly limits: LimitsByType | null;
}

/** Whether a new task of the type may begin at once. Indexes: proj_tasks_unplaced, proj_tasks_queue; one row of each. */
export const nothingWaits = (taskType: string) => `(NOT ${IS_DUE} AND (SELECT true FROM taskbridge.proj_tasks w
        WHERE w.task_type = ${taskType} AND w.vtime IS NOT NULL AND w.claimable_at <= clock_timestamp() LIMIT 1) IS NULL
        AND NOT ${isPaused(taskType)})`;

/**
 * `room`, of one row, for the new tasks in `request`: whether all of them may run under their limits. The locks of their keys are had
 * without waiting, or none begins: a session that has one of them is judging a claim. Keys are made in their order, before any is locked, so
 * two sessions never wait for each other. What runs is counted by a function, which sees what was stored before the locks were had.
 * `limits` is the parameter with them.
 */
export const roomWithin = (limits: string) => `keyed AS MATERIALIZED (
      SELECT k.key, min(k.most) AS most, count(*) AS n, min(r.task_type) AS task_type FROM request r
        CROSS JOIN LATERAL taskbridge.limits_of(r.task_type, r.tenant_id, r.owner_id, NULL, NULL, true, ${limits}::jsonb -> r.task_type) k
      WHERE r.lease_token IS NOT NULL GROUP BY k.key
    ), made AS MATERIALIZED (
      INSERT INTO taskbridge.proj_limits (key, task_type)
      SELECT k.key, k.task_type FROM keyed k WHERE NOT EXISTS (SELECT FROM taskbridge.proj_limits l WHERE l.key = k.key) ORDER BY k.key
      ON CONFLICT DO NOTHING RETURNING key
    ), mine AS MATERIALIZED (
      SELECT m.key FROM made m UNION ALL SELECT l.key FROM (
        SELECT l.key FROM taskbridge.proj_limits l WHERE l.key IN (SELECT key FROM keyed) AND l.key NOT IN (SELECT key FROM made)
        ORDER BY l.key FOR UPDATE SKIP LOCKED) AS l
    ), used AS MATERIALIZED (
      SELECT taskbridge.use_of(locked.keys, ${limits}::jsonb, clock_timestamp()) AS n FROM (SELECT array_agg(key) AS keys FROM mine) AS locked
    ), room AS MATERIALIZED (
      SELECT NOT EXISTS (SELECT FROM keyed k CROSS JOIN used u WHERE k.key NOT IN (SELECT key FROM mine)
        OR coalesce((u.n ->> k.key)::float8, 0) + k.n > k.most
        OR EXISTS (SELECT FROM taskbridge.proj_tasks h WHERE h.hold_key = k.key AND h.lease_token IS NULL AND h.finished_at IS NULL)
      ) AS is_free
    )`;

export const FIRST_ATTEMPT_COLUMNS = `claimable_at, lease_token, lease_expires_at, worker_id, started_at, status, head_event_id,
        attempt, attempt_base, lease_number`;

/** `$15` seconds is the lease, and `$16` its holder. */
export const FIRST_ATTEMPT = `CASE WHEN begins = 0 THEN date_trunc('milliseconds', clock_timestamp()) END,
        CASE WHEN begins = 1 THEN lease_token END, CASE WHEN begins = 1 THEN clock_timestamp() + make_interval(secs => $15) END,
        CASE WHEN begins = 1 THEN $16 END, CASE WHEN begins = 1 THEN clock_timestamp() END,
        CASE WHEN begins = 1 THEN 'RUNNING' ELSE 'ACCEPTED' END, begins, begins, begins, begins`;

/** What the INSERT returns of the new rows, `created`. */
export const CREATED = `task_id, tenant_id, owner_id, task_type,
        correlation_id, vtime, status, lease_token, lease_expires_at`;

/** Behind the new rows, `created`: their first events, by the principal `$17`. They are counted here: the trigger sees changes of rows. */
export const BEGUN = `begun AS (
      INSERT INTO taskbridge.events (task_id, event_id, type, payload, attempt, lease_number, correlation_id, principal_id)
      SELECT task_id, 1, 'TASK_STARTED', '{}', 1, 1, correlation_id, $17 FROM created WHERE lease_token IS NOT NULL
      RETURNING task_id, ${CREATED_AT}
    ), counted AS (
      INSERT INTO taskbridge.proj_task_count_changes (tenant_id, owner_id, task_type, new_status, n)
      SELECT tenant_id, owner_id, task_type, status, count(*) FROM created WHERE lease_token IS NOT NULL
      GROUP BY tenant_id, owner_id, task_type, status
    )
    SELECT task_id, vtime - ${OFFSET} AS place, begun.created_at AS started_at, ${leaseEnd('lease_expires_at')}
    FROM created LEFT JOIN begun USING (task_id)`;

export interface Inserted {
  readonly task_id: string;
  readonly place: number;
  /** Null: the task waits. */
  readonly started_at: string | null;
  readonly lease_expires_at: string;
}

/** The first attempt of a task that was stored as claimed. */
export interface Begun {
  /** The time of TASK_STARTED. */
  readonly startedAt: string;
  readonly leaseExpiresAt: string;
}

/**
 * `place`: without the offset of its priority; null: it is not due. `begun`: null where the task waits for a claim. `passed_over`: the key is taken, or the
 * owner has no room.
 */
export type InsertOutcome =
  | {
      readonly outcome: 'inserted';
      readonly taskId: string;
      readonly place: number | null;
      readonly begun: Begun | null;
    }
  | { readonly outcome: 'passed_over' };

export function outcomeOf(row: Inserted | undefined): InsertOutcome {
  if (!row) return { outcome: 'passed_over' };
  const { task_id: taskId, place, started_at: startedAt, lease_expires_at: leaseExpiresAt } = row;
  return { outcome: 'inserted', taskId, place, begun: startedAt === null ? null : { startedAt, leaseExpiresAt } };
}
