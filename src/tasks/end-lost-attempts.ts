import { Injectable } from '@nestjs/common';
import { SYSTEM_PRINCIPAL_ID } from '../auth/auth-context.js';
import { lockExpiredLeases, lockExpiredSuspensions, lockOverdueCancellations } from './store/lock-tasks.js';
import { TaskWriter, type Written } from './task-writer.js';
import { TasksConfig } from './tasks.config.js';

/** Tasks in one transaction: bounded, so that a replica that died with thousands of leases is cleared in steps. */
const AT_A_TIME = 100;

/** Ends attempts that gave no sign of life or do not obey a cancellation, and tasks whose question nobody answered. */
@Injectable()
export class EndLostAttempts {
  constructor(
    private readonly writer: TaskWriter,
    private readonly config: TasksConfig,
  ) {}

  /** @returns the tasks changed; as many as asked for at a time means that there may be more */
  async execute(): Promise<readonly Written[]> {
    const system = { principalId: SYSTEM_PRINCIPAL_ID };
    const expired = await this.writer.write(
      (tx) => lockExpiredLeases(tx, false, AT_A_TIME),
      () => ({ kind: 'lose_lease' }),
      system,
    );
    const overdue = await this.writer.write(
      (tx) => lockOverdueCancellations(tx, this.config.cancelGraceSeconds, AT_A_TIME),
      () => ({ kind: 'force_cancellation' }),
      system,
    );
    const unanswered = await this.writer.write(
      (tx) => lockExpiredSuspensions(tx, AT_A_TIME),
      () => ({ kind: 'expire_suspension' }),
      system,
    );
    return [...expired, ...overdue, ...unanswered];
  }

  /** For a process that knows it is the only one on its database: whoever held a lease is gone. No backoff. */
  async endAll(): Promise<readonly Written[]> {
    const ended: Written[] = [];
    for (;;) {
      const lost = await this.writer.write(
        (tx) => lockExpiredLeases(tx, true, AT_A_TIME),
        () => ({ kind: 'lose_lease', retryAfterMs: 0 }),
        { principalId: SYSTEM_PRINCIPAL_ID },
      );
      ended.push(...lost);
      if (lost.length < AT_A_TIME) return ended;
    }
  }
}
