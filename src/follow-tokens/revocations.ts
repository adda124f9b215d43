import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import type { RevocationMark } from '../auth/follow-tokens.js';
import type { Queryable, Statement } from '../database/queryable.js';
import type { TaskIdentity } from '../tasks/domain/task-identity.js';

/**
 * The time of tokens and marks: that of the database, and always behind the newest mark. So a token that is minted after a revocation
 * counts, also within the same millisecond and where the clock of the database went back. Index: proj_revoked_tokens_revoked.
 */
const NOW = `greatest(clock_timestamp()::timestamptz(3),
  (SELECT max(revoked_at) FROM taskbridge.proj_revoked_tokens) + interval '1 millisecond')`;

const MILLISECONDS = (time: string) => `(extract(epoch FROM ${time}) * 1000)::float8`;

const ISSUE: Statement = {
  name: 'issue-follow-token',
  text: `SELECT ${MILLISECONDS('clock_timestamp()')} AS now, ${MILLISECONDS(NOW)} AS "issuedAt"`,
};

/** The time of the database, and that at which a token is issued, in milliseconds since 1970. Writes nothing. */
export async function timeOfIssue(db: Queryable): Promise<{ readonly now: number; readonly issuedAt: number }> {
  const [row] = await db.query<{ now: number; issuedAt: number }>(ISSUE, []);
  if (row === undefined) throw new Error('a SELECT without FROM answered no row');
  return row;
}

const MARK: Statement = {
  name: 'mark-follow-tokens',
  text: `INSERT INTO taskbridge.proj_revoked_tokens AS mark (tenant_id, owner_id, task_id, revoked_at)
    VALUES ($1, $2, $3, ${NOW})
    ON CONFLICT (tenant_id, owner_id, task_id) DO UPDATE
      SET revoked_at = greatest(excluded.revoked_at, mark.revoked_at + interval '1 millisecond')
    RETURNING ${MILLISECONDS('revoked_at')} AS revoked_at`,
};

/** Revokes what was minted so far: for a task, or by a principal. */
export async function mark(
  db: Queryable,
  of: TaskIdentity | Pick<AuthContext, 'tenantId' | 'subject'>,
): Promise<RevocationMark> {
  const isTask = 'taskId' in of;
  const { tenantId, ownerId } = isTask ? of : ownerOf(of);
  const [row] = await db.query<{ revoked_at: number }>(MARK, [tenantId, ownerId, isTask ? of.taskId : null]);
  return { of: isTask ? of.taskId : of, revokedAt: row?.revoked_at ?? Number.NaN };
}

/** How long a mark may take from its time to its commit. Statements take less. */
const LATE_SECONDS = 60;

/** A mark may be committed after one that has a later time. Index: proj_revoked_tokens_revoked. */
const READ: Statement = {
  name: 'read-revocations',
  text: `SELECT ${MILLISECONDS('clock_timestamp()')} AS now,
    coalesce((SELECT json_agg(json_build_array(tenant_id, owner_id, task_id, ${MILLISECONDS('revoked_at')}))
      FROM taskbridge.proj_revoked_tokens
      WHERE revoked_at > to_timestamp($1::float8 / 1000) - interval '${LATE_SECONDS} seconds'), '[]') AS marks`,
};

interface Read {
  readonly now: number;
  readonly marks: readonly (readonly [tenantId: string, ownerId: string, taskId: string | null, revokedAt: number])[];
}

/**
 * The time of the database in milliseconds since 1970, and all marks but those that were there when the mark of the time `newest`
 * was read. With 0 it is all marks.
 */
export async function readRevocations(
  db: Queryable,
  newest: number,
): Promise<{ readonly now: number; readonly marks: readonly RevocationMark[] }> {
  const [row] = await db.query<Read>(READ, [newest]);
  if (row === undefined) throw new Error('a SELECT without FROM answered no row');
  const marks = row.marks.map(([tenantId, subject, taskId, revokedAt]) => ({
    of: taskId ?? { subject, tenantId },
    revokedAt,
  }));
  return { now: row.now, marks };
}
