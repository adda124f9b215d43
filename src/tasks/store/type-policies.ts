import type { PolicyMember, TaskPolicy } from '#protocol/policies.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import type { Configured, Merged, Registered } from '../domain/merge-policies.js';

/** Index: the primary key. Whether an operator has paused the type. */
export const isPaused = (taskType: string) =>
  `EXISTS (SELECT FROM taskbridge.proj_task_types p WHERE p.task_type = ${taskType} AND p.paused_at IS NOT NULL)`;

/** A row, by the version of which a replica knows whether it has changed. */
export interface TypeVersion {
  readonly taskType: string;
  readonly version: string;
}

export interface TypeRow extends TypeVersion {
  readonly configured: Configured | null;
  readonly policy: TaskPolicy | null;
}

/** Index: the primary key, all of it: a row for each type that has a policy, or had one. */
const VERSIONS: Statement = {
  name: 'task-type-versions',
  text: `SELECT task_type AS "taskType", xmin::text AS version FROM taskbridge.proj_task_types ORDER BY task_type`,
};

export function readTypeVersions(db: Queryable): Promise<readonly TypeVersion[]> {
  return db.query<TypeVersion>(VERSIONS, []);
}

/** Index: the primary key. */
const READ: Statement = {
  name: 'read-task-types',
  text: `SELECT task_type AS "taskType", xmin::text AS version, configured, policy FROM taskbridge.proj_task_types
    WHERE task_type = ANY ($1::text[])`,
};

export function readTypes(db: Queryable, taskTypes: readonly string[]): Promise<readonly TypeRow[]> {
  return db.query<TypeRow>(READ, [taskTypes]);
}

/** Index: the primary key. */
const POLICY: Statement = {
  name: 'read-task-type-policy',
  text: `SELECT policy, policy_from AS "from" FROM taskbridge.proj_task_types WHERE task_type = $1`,
};

/** The policy in effect, and by member where it comes from; both are empty where nothing is set. */
export async function readPolicy(db: Queryable, taskType: string): Promise<Merged> {
  const [row] = await db.query<{ policy: TaskPolicy | null; from: Merged['from'] | null }>(POLICY, [taskType]);
  return { policy: row?.policy ?? {}, from: row?.from ?? {} };
}

const MAKE: Statement = {
  name: 'make-task-type',
  text: `INSERT INTO taskbridge.proj_task_types (task_type) VALUES ($1) ON CONFLICT DO NOTHING`,
};
const LOCK: Statement = {
  name: 'lock-task-type',
  text: `SELECT configured, policy, policy_from AS "from" FROM taskbridge.proj_task_types WHERE task_type = $1 FOR UPDATE`,
};

export interface LockedType {
  readonly configured: Configured | null;
  readonly policy: TaskPolicy | null;
  readonly from: Readonly<Partial<Record<PolicyMember, string>>> | null;
}

/** Waits for the row, and makes it where there is none. */
export async function lockType(tx: Queryable, taskType: string): Promise<LockedType> {
  await tx.query(MAKE, [taskType]);
  const [row] = await tx.query<LockedType>(LOCK, [taskType]);
  return row ?? { configured: null, policy: null, from: null };
}

/** Index: the primary key. Few versions of a type are known. */
const NEWEST: Statement = {
  name: 'newest-task-type-version',
  text: `SELECT version, policy FROM taskbridge.proj_task_type_versions WHERE task_type = $1
    ORDER BY first_seen_at DESC, version DESC LIMIT 1`,
};

/** What the version of workers registered that was seen first last; null without one, and where it registered nothing. */
export async function newestRegistered(tx: Queryable, taskType: string): Promise<Registered | null> {
  const [row] = await tx.query<{ version: string; policy: TaskPolicy | null }>(NEWEST, [taskType]);
  return row?.policy ? { version: row.version, policy: row.policy } : null;
}

const REGISTER: Statement = {
  name: 'register-policy',
  text: `INSERT INTO taskbridge.proj_task_type_versions AS v (task_type, version, policy) VALUES ($1, $2, $3)
    ON CONFLICT (task_type, version) DO UPDATE SET policy = excluded.policy, seen_at = clock_timestamp()`,
};

export async function registerPolicy(tx: Queryable, taskType: string, { version, policy }: Registered): Promise<void> {
  await tx.query(REGISTER, [taskType, version, JSON.stringify(policy)]);
}

/** The caller holds the lock of the row. */
const WRITE: Statement = {
  name: 'write-task-type',
  text: `UPDATE taskbridge.proj_task_types SET configured = $2, policy = $3, policy_from = $4, updated_at = clock_timestamp()
    WHERE task_type = $1`,
};

export async function writeType(
  tx: Queryable,
  taskType: string,
  configured: Configured,
  merged: Merged,
): Promise<void> {
  const json = [configured, merged.policy, merged.from].map((one) => JSON.stringify(one));
  await tx.query(WRITE, [taskType, ...json]);
}
