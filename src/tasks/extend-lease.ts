import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { LeaseLost, TaskAside } from './domain/tasks.errors.js';
import { readTaskHead } from './store/read-task-view.js';
import { renewLease, type HeldLease, type RenewedLease } from './store/renew-leases.js';
import { TasksConfig } from './tasks.config.js';

/** A sign of life of an attempt that has nothing to say. */
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
      const renewed = await renewLease(this.database, held, this.config.leaseSeconds);
      if (renewed) return renewed;
      const head = await readTaskHead(this.database, held.taskId);
      throw head && head.asideCode !== null ? new TaskAside() : new LeaseLost();
    });
  }
}
