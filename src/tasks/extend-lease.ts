import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { LeaseLost, TaskAside } from './domain/tasks.errors.js';
import { readTaskHead } from './store/read-task-view.js';
import {
  type HeldLease,
  type Reach,
  type Renewal,
  type RenewedLease,
  renewLease,
  renewLeases,
} from './store/renew-leases.js';
import { TasksConfig } from './tasks.config.js';

/** A sign of life of attempts that have nothing to say. */
@Injectable()
export class ExtendLease {
  constructor(
    private readonly database: Database,
    private readonly config: TasksConfig,
    private readonly observer: Observer,
  ) {}

  /** @throws LeaseLost, TaskAside */
  execute(held: HeldLease): Promise<RenewedLease> {
    const about = { principalId: 'worker', taskId: held.taskId, quiet: true };
    return this.observer.command('extend_lease', about, async () => {
      const renewal = await this.extended(held);
      if (renewal.outcome === 'renewed') return renewal;
      throw renewal.outcome === 'aside' ? new TaskAside() : new LeaseLost();
    });
  }

  /** The same for many leases, in one statement. One outcome for each, in their order. */
  executeAll(held: readonly HeldLease[], reach: Reach): Promise<readonly Renewal[]> {
    return this.observer.command('extend_leases', { principalId: 'worker', quiet: true }, async () => {
      const renewals = await renewLeases(this.database, held, this.config.leaseSeconds, reach);
      // A row that another session changes at this moment is waited for by itself, with no other lock.
      return Promise.all(
        held.map(async (one, i) => {
          const renewal = renewals[i] ?? { outcome: 'lost' };
          return renewal.outcome === 'locked' ? this.extended(one) : renewal;
        }),
      );
    });
  }

  private async extended(held: HeldLease): Promise<Renewal> {
    const renewed = await renewLease(this.database, held, this.config.leaseSeconds);
    if (renewed) return { outcome: 'renewed', ...renewed };
    const head = await readTaskHead(this.database, held.taskId);
    return { outcome: head && head.asideCode !== null ? 'aside' : 'lost' };
  }
}
