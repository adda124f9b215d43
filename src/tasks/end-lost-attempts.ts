import { Injectable } from '@nestjs/common';
import { SYSTEM_PRINCIPAL_ID } from '../auth/auth-context.js';
import type { Queryable } from '../database/queryable.js';
import type { Command } from './domain/decide.js';
import {
  lockExpiredLeases,
  lockExpiredSuspensions,
  lockExpiredTasks,
  lockOverdueCancellations,
  lockTimedOutAttempts,
  lockUnattendedTasks,
} from './store/lock-tasks.js';
import { TaskPolicies } from './task-policies.js';
import type { TaskRecord } from './store/task-row.js';
import { type Swept, TaskWriter, type Written } from './task-writer.js';
import { TasksConfig } from './tasks.config.js';

/** The most tasks in one transaction. So the leases of a dead replica are ended in steps. */
const AT_A_TIME = 100;

/** The kinds of work, each independent of the others. `unattended_tasks` are set aside: no executor would ever continue them. */
export const LOST_WORK = [
  'expired_leases',
  'timed_out_attempts',
  'overdue_cancellations',
  'expired_questions',
  'expired_tasks',
  'unattended_tasks',
] as const;
export type LostWork = (typeof LOST_WORK)[number];

/** Ends attempts without a sign of life or beyond their time, attempts that do not obey a cancellation, and tasks with an expired question or deadline. */
@Injectable()
export class EndLostAttempts {
  constructor(
    private readonly writer: TaskWriter,
    private readonly policies: TaskPolicies,
    private readonly config: TasksConfig,
  ) {}

  /**
   * `checkPatience` is called at the last moment. When it returns true, no lease is taken: its holder may have had no chance to renew
   * it.
   * @returns the changed tasks; a full transaction means that there may be more
   */
  async execute(
    kinds: readonly LostWork[] = LOST_WORK,
    checkPatience: () => boolean = () => false,
  ): Promise<readonly Written[]> {
    const written: Written[] = [];
    for (const kind of kinds) written.push(...(await this.one(kind, checkPatience)).written);
    return written;
  }

  /** For the only process on a database: every holder of a lease is gone. The tasks have no backoff. */
  async endAll(): Promise<readonly Written[]> {
    const ended: Written[] = [];
    for (;;) {
      const { found, written } = await this.sweep(
        (tx) => lockExpiredLeases(tx, true, AT_A_TIME),
        () => ({ kind: 'lose_lease', retryAfterMs: 0 }),
      );
      ended.push(...written);
      if (found < AT_A_TIME) return ended;
    }
  }

  private one(kind: LostWork, checkPatience: () => boolean): Promise<Swept> {
    switch (kind) {
      case 'expired_leases':
        return this.sweep(
          async (tx) => (checkPatience() ? [] : lockExpiredLeases(tx, false, AT_A_TIME)),
          () => ({ kind: 'lose_lease' }),
        );
      case 'overdue_cancellations':
        return this.sweep(
          async (tx) =>
            checkPatience()
              ? []
              : lockOverdueCancellations(tx, this.config.cancelGraceSeconds, this.policies.graces(), AT_A_TIME),
          () => ({ kind: 'force_cancellation' }),
        );
      case 'timed_out_attempts':
        return this.sweep(
          (tx) => lockTimedOutAttempts(tx, AT_A_TIME),
          () => ({ kind: 'time_out' }),
        );
      case 'expired_tasks':
        return this.sweep(
          (tx) => lockExpiredTasks(tx, AT_A_TIME),
          () => ({ kind: 'expire' }),
        );
      case 'expired_questions':
        return this.sweep(
          (tx) => lockExpiredSuspensions(tx, AT_A_TIME),
          () => ({ kind: 'expire_suspension' }),
        );
      case 'unattended_tasks':
        return this.sweep(
          (tx) => lockUnattendedTasks(tx, AT_A_TIME),
          () => null,
        );
    }
  }

  private sweep(
    lock: (tx: Queryable) => Promise<readonly TaskRecord[]>,
    command: (record: TaskRecord) => Command | null,
  ): Promise<Swept> {
    return this.writer.sweep(lock, command, { principalId: SYSTEM_PRINCIPAL_ID });
  }
}
