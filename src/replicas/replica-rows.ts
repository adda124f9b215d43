import { isLive } from '../database/live-replica.js';
import type { Queryable, Statement } from '../database/queryable.js';

/** A replica that another one sees. */
export interface SeenReplica {
  readonly build: string;
  readonly features: readonly string[];
}

/** What a replica says of itself at each beat, besides its build. Nothing of where it is. */
export interface ReplicaFacts {
  /** The types that it executes itself. */
  readonly taskTypes: readonly string[];
  readonly [fact: string]: unknown;
}

export interface OwnReplica extends SeenReplica {
  readonly facts: ReplicaFacts;
}

export interface Seen {
  /** The replicas that wrote their row lately. */
  readonly replicas: readonly SeenReplica[];
  /** What the sessions of services in this database are called. */
  readonly sessions: readonly string[];
}

/** A session that did nothing for this long belongs to a machine that is gone. A replica that lives has a session that did. */
const LIVE_SESSION_SECONDS = 60;

/**
 * Writes the row of this replica, and reads what lives. In pg_stat_activity a role sees the name of every session, and the times of its
 * own ones. `tasks/store/keep-up.ts` deletes rows of the dead.
 */
const SHOW_AND_SEE: Statement = {
  name: 'show-and-see-replicas',
  text: `WITH mine AS (
      INSERT INTO taskbridge.proj_replicas (replica_id, build, features, facts)
      VALUES ($1, $2, $3, $4::json)
      ON CONFLICT (replica_id) DO UPDATE SET seen_at = clock_timestamp(), facts = excluded.facts
    )
    SELECT coalesce((SELECT json_agg(json_build_object('build', build, 'features', features))
        FROM taskbridge.proj_replicas r WHERE ${isLive('r')} AND replica_id <> $1), '[]') AS replicas,
      ARRAY(SELECT DISTINCT application_name FROM pg_stat_activity
        WHERE datname = current_database() AND application_name ~ '^taskbridge(/|$)'
          AND coalesce(state_change, now()) > now() - make_interval(secs => ${LIVE_SESSION_SECONDS})) AS sessions`,
};

export async function showAndSeeReplicas(
  db: Queryable,
  replicaId: string,
  { build, features, facts }: OwnReplica,
): Promise<Seen> {
  const [seen] = await db.query<Seen>(SHOW_AND_SEE, [replicaId, build, features, JSON.stringify(facts)]);
  if (seen === undefined) throw new Error('a SELECT without FROM answered no row');
  return seen;
}

const REMOVE: Statement = {
  name: 'remove-replica',
  text: 'DELETE FROM taskbridge.proj_replicas WHERE replica_id = $1',
};

export async function removeReplica(db: Queryable, replicaId: string): Promise<void> {
  await db.query(REMOVE, [replicaId]);
}

/** A replica that was there within a day. */
export interface ReplicaRow {
  readonly replicaId: string;
  readonly build: string;
  readonly features: readonly string[];
  readonly facts: Partial<ReplicaFacts> | null;
  readonly startedAt: Date;
  readonly lastBeatAt: Date;
  readonly isLive: boolean;
}

/** Index: proj_replicas_seen. Rows of the dead are deleted after a day. */
const LIST: Statement = {
  name: 'list-replicas',
  text: `SELECT r.replica_id AS "replicaId", r.build, r.features, r.facts, r.started_at AS "startedAt", r.seen_at AS "lastBeatAt",
      ${isLive('r')} AS "isLive"
    FROM taskbridge.proj_replicas r WHERE r.seen_at > statement_timestamp() - interval '1 day' ORDER BY r.seen_at DESC LIMIT $1`,
};

/** The newest beat first. */
export function listReplicas(db: Queryable, most: number): Promise<readonly ReplicaRow[]> {
  return db.query<ReplicaRow>(LIST, [most]);
}
