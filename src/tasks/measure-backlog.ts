import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { readXminAge } from '../database/xmin-age.js';
import { within } from '../deadline.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { type Backlog, readBacklog } from './store/read-backlog.js';

/** The shortest time between two queries, for any number of scrapes. */
const KEPT_MS = 2_000;
const PATIENCE_MS = 1_000;

/** What the database alone can tell, for all replicas. */
interface Measured extends Backlog {
  readonly xminAge: number;
}

const UNKNOWN: Measured = {
  waiting: Number.NaN,
  held: Number.NaN,
  pausedTypes: Number.NaN,
  bulks: Number.NaN,
  running: Number.NaN,
  suspended: Number.NaN,
  aside: Number.NaN,
  oldestSeconds: Number.NaN,
  oldestClaimableSeconds: Number.NaN,
  oldestEndedSeconds: Number.NaN,
  xminAge: Number.NaN,
};

/** Measures the waiting work and its age, and what holds back VACUUM. The figures come from PostgreSQL, so they are the same on every replica. */
@Injectable()
export class MeasureBacklog {
  #underWay: Promise<Measured> | undefined;
  #validUntil = 0;
  #last: Measured = UNKNOWN;

  constructor(
    private readonly database: Database,
    private readonly metrics: MetricsSink,
  ) {}

  /** Sets the gauges, and gives what it measured. While PostgreSQL does not answer, all are NaN within a second. Never rejects. */
  async execute(): Promise<Backlog> {
    if (performance.now() < this.#validUntil) return this.#last;
    this.#underWay ??= this.read();
    const backlog = (await within(PATIENCE_MS, this.#underWay)) ?? UNKNOWN;
    this.#last = backlog;
    this.metrics.set('tasks', backlog.waiting, { state: 'waiting' });
    this.metrics.set('tasks', backlog.held, { state: 'held' });
    this.metrics.set('tasks', backlog.running, { state: 'running' });
    this.metrics.set('tasks', backlog.suspended, { state: 'suspended' });
    this.metrics.set('tasks_aside', backlog.aside);
    this.metrics.set('task_types_paused', backlog.pausedTypes);
    this.metrics.set('bulks_unfinished', backlog.bulks);
    this.metrics.set('oldest_non_terminal_age_seconds', backlog.oldestSeconds);
    this.metrics.set('oldest_claimable_age_seconds', backlog.oldestClaimableSeconds);
    this.metrics.set('oldest_ended_age_seconds', backlog.oldestEndedSeconds);
    this.metrics.set('oldest_xmin_age_transactions', backlog.xminAge);
    return backlog;
  }

  private async read(): Promise<Measured> {
    try {
      const [backlog, xminAge] = await Promise.all([
        readBacklog(this.database),
        // An installation may have taken a view of PostgreSQL from this role.
        readXminAge(this.database).catch(() => Number.NaN),
      ]);
      this.#validUntil = performance.now() + KEPT_MS;
      return { ...backlog, xminAge };
    } catch {
      // Readiness shows the outage, and writers get 503.
      return UNKNOWN;
    } finally {
      this.#underWay = undefined;
    }
  }
}
