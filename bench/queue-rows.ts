import type { Client } from 'pg';

export interface WaitingRows {
  readonly taskType: string;
  readonly count: number;
  /** Their owners, each with as many. */
  readonly owners: number;
  /** A full key that keeps them out of the queue. Absent: they wait for a claim. */
  readonly heldBy?: string;
}

/**
 * Makes tasks as a create does, without the service: there is no other way to a million. They are stored owner by owner, because that
 * takes the indexes half the time, and are in the queue by the owners' turns.
 */
export async function insertWaiting(db: Client, { taskType, count, owners, heldBy }: WaitingRows): Promise<void> {
  await db.query(
    `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, content_fingerprint, task_type,
        input, correlation_id, traceparent, claimable_at, vtime, hold_key)
      SELECT uuidv7(), '', 'owner-' || n / ceil($2 / $3::float8)::int, gen_random_uuid(), repeat('0', 64), repeat('0', 64), $1, '{}', gen_random_uuid(),
        '00-00000000000000000000000000000001-0000000000000001-00',
        CASE WHEN $4::text IS NULL THEN date_trunc('milliseconds', clock_timestamp()) END,
        CASE WHEN $4::text IS NULL THEN n % ceil($2 / $3::float8)::int + 1 END, $4
      FROM generate_series(0, $2 - 1) AS n`,
    [taskType, count, owners, heldBy ?? null],
  );
}

/** What autovacuum would have done by now. */
export async function settle(db: Client): Promise<void> {
  await db.query('VACUUM (ANALYZE) taskbridge.proj_tasks');
  await db.query('CHECKPOINT');
}
