import type { Queryable, Statement } from '../../database/queryable.js';

/** What an operator has said of a type. */
export interface Pause {
  /** RFC 3339, by the clock of the database. */
  readonly since: string;
  readonly by: string;
  readonly reason: string | null;
}

/** Index: the primary key. A type that is paused stays as it is. */
const PAUSE: Statement = {
  name: 'pause-task-type',
  text: `INSERT INTO taskbridge.proj_task_types AS t (task_type, paused_at, paused_by, pause_reason)
    VALUES ($1, clock_timestamp(), $2, $3)
    ON CONFLICT (task_type) DO UPDATE SET paused_at = excluded.paused_at, paused_by = excluded.paused_by,
      pause_reason = excluded.pause_reason, updated_at = clock_timestamp() WHERE t.paused_at IS NULL
    RETURNING 1`,
};

/** @returns whether the type was not paused before */
export async function pauseType(tx: Queryable, taskType: string, by: string, reason: string | null): Promise<boolean> {
  return (await tx.query(PAUSE, [taskType, by, reason])).length > 0;
}

const RESUME: Statement = {
  name: 'resume-task-type',
  text: `UPDATE taskbridge.proj_task_types SET paused_at = NULL, paused_by = NULL, pause_reason = NULL, updated_at = clock_timestamp()
    WHERE task_type = $1 AND paused_at IS NOT NULL RETURNING 1`,
};

/** @returns whether the type was paused before */
export async function resumeType(tx: Queryable, taskType: string): Promise<boolean> {
  return (await tx.query(RESUME, [taskType])).length > 0;
}

/** Index: the primary key. */
const READ: Statement = {
  name: 'read-pause',
  text: `SELECT to_char(paused_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS since, paused_by AS by, pause_reason AS reason
    FROM taskbridge.proj_task_types WHERE task_type = $1 AND paused_at IS NOT NULL`,
};

export async function readPause(db: Queryable, taskType: string): Promise<Pause | undefined> {
  return (await db.query<Pause>(READ, [taskType]))[0];
}
