import { Injectable } from '@nestjs/common';
import { type LogLine, MAX_COUNTED } from '#protocol/operators.js';
import type { Answer } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { InvalidRequest } from '../errors.js';
import { ServiceReadiness } from '../health/service-readiness.js';
import { Observer } from '../observability/observer.js';
import { type RecentLine, RecentLines } from '../observability/recent-lines.js';
import { LiveReplicas } from '../replicas/live-replicas.js';
import { InvalidCursor } from '../tasks/domain/tasks.errors.js';
import { listWorkers, type WorkerRow } from '../tasks/store/list-workers.js';
import { countOverdue, readLastRetention } from '../tasks/store/retention-state.js';
import { EffectiveSettings } from './effective-setting.js';
import { Numbers } from './numbers.js';

/** What operators read of the installation, besides tasks. */
@Injectable()
export class ReadSystem {
  constructor(
    private readonly database: Database,
    private readonly replicas: LiveReplicas,
    private readonly readinessOfService: ServiceReadiness,
    private readonly effective: EffectiveSettings,
    private readonly ring: Numbers,
    private readonly recent: RecentLines,
    private readonly observer: Observer,
  ) {}

  /** @throws InvalidCursor when the cursor was not made here */
  workers(
    auth: AuthContext,
    { limit, cursor = '' }: { readonly limit: number; readonly cursor?: string },
  ): Promise<Answer<'SystemWorkers'>> {
    return this.observer.query('list_workers', watching(auth), async () => {
      const rows = await listWorkers(this.database, idIn(cursor), limit + 1);
      const items = rows.slice(0, limit);
      const last = rows.length > limit ? items.at(-1) : undefined;
      return { items: items.map(workerOf), nextCursor: last ? Buffer.from(last.workerId).toString('base64url') : null };
    });
  }

  settings(auth: AuthContext): Promise<Answer<'SystemSettings'>> {
    return this.observer.query('read_settings', watching(auth), () =>
      Promise.resolve({ replicaId: this.replicas.id, items: this.effective.all }),
    );
  }

  readiness(auth: AuthContext): Promise<Answer<'SystemReadiness'>> {
    return this.observer.query('read_readiness', watching(auth), async () => {
      const { ready, details } = await this.readinessOfService.check();
      return { replicaId: this.replicas.id, status: ready ? 'ready' : 'not_ready', details };
    });
  }

  retention(auth: AuthContext): Promise<Answer<'SystemRetention'>> {
    return this.observer.query('read_retention', watching(auth), async () => {
      const last = await readLastRetention(this.database);
      const days = last?.days ?? this.effective.retentionDays;
      const { tasks, oldestFinishedAt } = await countOverdue(this.database, days);
      return {
        days,
        ...(last && {
          lastRun: {
            at: last.at.toISOString(),
            removedTasks: last.removedTasks,
            removedAuditEntries: last.removedAuditEntries,
          },
        }),
        overdue: {
          tasks: Math.min(tasks, MAX_COUNTED),
          atLeast: tasks > MAX_COUNTED,
          ...(oldestFinishedAt && { oldestFinishedAt: oldestFinishedAt.toISOString() }),
        },
      };
    });
  }

  numbers(auth: AuthContext): Promise<Answer<'SystemNumbers'>> {
    const { everySeconds, points } = this.ring;
    return this.observer.query('read_numbers', watching(auth), () =>
      Promise.resolve({ replicaId: this.replicas.id, everySeconds, points }),
    );
  }

  /**
   * Is no use-case in the log: an operator that watches it would see its own reads.
   * @throws InvalidRequest when `after` was not made by any replica
   */
  log({ after, limit }: { readonly after?: string; readonly limit: number }): Answer<'SystemLog'> {
    const { id } = this.replicas;
    const { recent } = this;
    const [, replicaId, number] = AFTER.exec(after ?? '') ?? [];
    if (after !== undefined && number === undefined)
      throw new InvalidRequest('`after` must be the `next` of an answer.');
    const isOurs = replicaId === id && Number(number) <= recent.last;
    const lines = recent.after(isOurs ? Number(number) : Math.max(0, recent.last - limit), limit);
    return {
      replicaId: id,
      lines: lines.map(lineOf),
      next: `${id}.${lines.at(-1)?.number ?? (isOurs ? number : recent.last)}`,
    };
  }
}

/** An operator that watches the log would otherwise see its own reads. */
const watching = ({ subject }: AuthContext) => ({ principalId: subject, quiet: true });

const AFTER = /^([0-9a-f-]{36})\.(\d{1,15})$/;

/** @throws InvalidCursor */
function idIn(cursor: string): string {
  const workerId = Buffer.from(cursor, 'base64url').toString();
  if (Buffer.from(workerId).toString('base64url') !== cursor || workerId.includes('\0'))
    throw new InvalidCursor('The cursor must be the nextCursor of an earlier page.');
  return workerId;
}

function workerOf({ version, firstSeenAt, lastSeenAt, ...worker }: WorkerRow) {
  return {
    ...worker,
    ...(version !== null && { version }),
    firstSeenAt: firstSeenAt.toISOString(),
    lastSeenAt: lastSeenAt.toISOString(),
  };
}

function lineOf({ at, level, event, correlationId, fields }: RecentLine): LogLine {
  return { at: at.toISOString(), level, event, correlationId, fields: fields as LogLine['fields'] };
}
