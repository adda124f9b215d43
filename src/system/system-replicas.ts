import { Injectable } from '@nestjs/common';
import type { SystemStream } from '#protocol/operators.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { LiveReplicas } from '../replicas/live-replicas.js';
import { listReplicas, type ReplicaRow } from '../replicas/replica-rows.js';
import { OpenStreams } from '../streaming/open-streams.js';
import type { SystemFacts } from './system-facts.js';

const MOST_REPLICAS = 200;
const MOST_OWN_STREAMS = 500;

/** The replicas of the installation and their streams, as this replica and the beats of the others have them. */
@Injectable()
export class SystemReplicas {
  constructor(
    private readonly database: Database,
    private readonly replicas: LiveReplicas,
    private readonly streams: OpenStreams,
    private readonly observer: Observer,
  ) {}

  list(auth: AuthContext) {
    return this.observer.query('list_replicas', { principalId: auth.subject, quiet: true }, async () => {
      const rows = await listReplicas(this.database, MOST_REPLICAS);
      return { answeredBy: this.replicas.id, items: rows.map(replicaOf) };
    });
  }

  listStreams(auth: AuthContext) {
    return this.observer.query('list_streams', { principalId: auth.subject, quiet: true }, async () => {
      const answeredBy = this.replicas.id;
      const rows = await listReplicas(this.database, MOST_REPLICAS);
      const others = rows.filter((row) => row.isLive && row.replicaId !== answeredBy);
      const own = this.streams.list(MOST_OWN_STREAMS).map((stream) => ({ ...stream, replicaId: answeredBy }));
      const items: SystemStream[] = [
        ...own,
        ...others.flatMap((row) =>
          (factsOf(row).shownStreams ?? []).map((stream) => ({ ...stream, replicaId: row.replicaId })),
        ),
      ];
      items.sort((a, b) => b.bufferedBytes - a.bufferedBytes || a.since.localeCompare(b.since));
      return {
        answeredBy,
        items,
        replicas: [
          { replicaId: answeredBy, open: this.streams.size, seenAt: new Date().toISOString() },
          ...others.map((row) => ({
            replicaId: row.replicaId,
            open: factsOf(row).streams ?? 0,
            seenAt: row.lastBeatAt.toISOString(),
          })),
        ],
      };
    });
  }
}

const factsOf = ({ facts }: ReplicaRow): SystemFacts => (facts ?? {}) as SystemFacts;

function replicaOf(row: ReplicaRow) {
  const { replicaId, build, features, facts, startedAt, lastBeatAt, isLive } = row;
  const { isReady, streams } = factsOf(row);
  return {
    ...{ replicaId, build, features, isLive },
    startedAt: startedAt.toISOString(),
    lastBeatAt: lastBeatAt.toISOString(),
    ...(isReady !== undefined && { isReady }),
    ...(streams !== undefined && { streams }),
    ...(facts?.taskTypes && { taskTypes: facts.taskTypes }),
  };
}
