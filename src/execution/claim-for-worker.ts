import { Injectable } from '@nestjs/common';
import { Observer } from '../observability/observer.js';
import { ClaimTasks, type Lease } from '../tasks/claim-tasks.js';
import { EndAttempt } from '../tasks/end-attempt.js';
import { ClaimDto } from './dto/worker.dto.js';
import { Handlers } from './handlers.js';
import { WaitingClaims } from './waiting-claims.js';
import { wireLease, type WireLease } from './wire-lease.js';

/** A remote worker's claim, which waits while there is nothing to do. */
@Injectable()
export class ClaimForWorker {
  constructor(
    private readonly claimTasks: ClaimTasks,
    private readonly endAttempt: EndAttempt,
    private readonly waiting: WaitingClaims,
    private readonly handlers: Handlers,
    private readonly observer: Observer,
  ) {}

  /** @returns nothing when the wait is over, or `left` aborts */
  async execute(claim: ClaimDto, left: AbortSignal): Promise<readonly WireLease[]> {
    // This process takes the types it has handlers for, workers all others.
    const taskTypes = claim.taskTypes.filter((taskType) => !this.handlers.has(taskType));
    const deadline = performance.now() + claim.waitTimeoutMs;
    for (;;) {
      const leases = taskTypes.length > 0 && !left.aborted ? await this.claim(claim, taskTypes) : [];
      const remaining = deadline - performance.now();
      if (leases.length > 0) {
        // Where one was, there may be more: the next in line looks.
        for (const taskType of new Set(leases.map(({ identity }) => identity.taskType))) this.waiting.notify(taskType);
        if (left.aborted) await this.handBack(leases);
        return leases.map(wireLease);
      }
      if (remaining <= 0 || left.aborted || this.waiting.stopped) return [];
      await this.waiting.wait(taskTypes, remaining, left);
    }
  }

  /** Nobody hears the answer: else these tasks would wait for their leases to expire, and be short of an attempt. */
  private async handBack(leases: readonly Lease[]): Promise<void> {
    const released = leases.map(({ identity: { taskId }, token }) =>
      this.endAttempt.execute(taskId, { kind: 'release', token }, {}),
    );
    await Promise.allSettled(released);
  }

  private claim({ workerId, maxTasks }: ClaimDto, taskTypes: readonly string[]): Promise<readonly Lease[]> {
    const principalId = `worker:${workerId}`;
    return this.observer.command('claim_tasks', { principalId, quiet: true }, () =>
      this.claimTasks.execute({ workerId, principalId }, taskTypes, maxTasks),
    );
  }
}
