import { setImmediate as nextTurn } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import type { JsonObject } from '#protocol/json-schema.js';
import { AccessDenied } from '../../auth/auth.errors.js';
import { type FieldError, RequestValidationError } from '../../errors.js';
import { treeOf } from '../../json/json-tree.js';
import { DrainState } from '../../drain-state.js';
import { MetricsSink } from '../../observability/metrics-sink.js';
import { Observer } from '../../observability/observer.js';
import { ClaimTasks } from '../../tasks/claim-tasks.js';
import type { Lease } from '../../tasks/domain/lease.js';
import { TaskPolicies } from '../../tasks/task-policies.js';
import { policiesFrom } from '../../tasks/policies/policy-from.js';
import { EndAttempt } from '../../tasks/end-attempt.js';
import { TasksConfig } from '../../tasks/tasks.config.js';
import { ClaimDto } from './worker.dto.js';
import { Handlers } from '../handlers.js';
import { WaitingClaims } from '../waiting-claims.js';
import { beyond, type WorkerGrant, workerIdOf } from '../worker-grant.js';
import { WorkerRegistry } from '../worker-registry.js';
import { wireLease, type WireLease } from './wire-lease.js';

/** Claims that query the queue at one time. More would take connections from other work. */
const MAX_LOOKING = 4;

/** A remote worker's claim. It waits while there is no task. */
@Injectable()
export class ClaimForWorker {
  #looking = 0;

  constructor(
    private readonly claimTasks: ClaimTasks,
    private readonly endAttempt: EndAttempt,
    private readonly waiting: WaitingClaims,
    private readonly handlers: Handlers,
    private readonly registry: WorkerRegistry,
    private readonly policies: TaskPolicies,
    private readonly tasks: TasksConfig,
    private readonly observer: Observer,
    private readonly metrics: MetricsSink,
    private readonly drain: DrainState,
  ) {}

  /**
   * @returns nothing when the wait is over, or `left` aborts
   * @throws AccessDenied when the token does not cover one of the types, RequestValidationError when the leases would be too long
   */
  async execute(claim: ClaimDto, grant: WorkerGrant, left: AbortSignal): Promise<readonly WireLease[]> {
    const [refused] = beyond(grant, claim.taskTypes);
    if (refused !== undefined) throw new AccessDenied(`This token does not cover the task type ${refused}.`);
    this.refuseTooLong(claim);
    await this.agree(claim);
    this.register(claim, grant);
    // This process takes the types of its handlers. Workers get all others.
    const taskTypes = claim.taskTypes.filter((taskType) => !this.handlers.has(taskType));
    const deadline = performance.now() + claim.waitTimeoutMs;
    // A worker executes the types without a handler here.
    this.metrics.set('weak_setting', 0, { name: 'EXECUTOR' });
    // When other workers already wait for these types, a new claim does not query: it would find nothing. So a thousand workers
    // that come at once are only a thousand entries of a list.
    let looks =
      claim.waitTimeoutMs === 0 || (this.#looking < MAX_LOOKING && !this.waiting.isWaitedFor(taskTypes, claim.steps));
    for (;;) {
      const leases = looks && taskTypes.length > 0 && !left.aborted ? await this.claim(claim, grant, taskTypes) : [];
      const remaining = deadline - performance.now();
      if (leases.length > 0) {
        // After one task there may be another, so the next waiting claim queries.
        for (const taskType of new Set(leases.map(({ identity }) => identity.taskType))) this.waiting.notify(taskType);
        if (left.aborted) await this.handBack(leases);
        return leases.map(wireLease);
      }
      if (remaining <= 0 || left.aborted || this.drain.workEnds.aborted) return [];
      // A task that this claim was woken for may have a finished step, and wait for a claim that knows steps.
      if (looks && !claim.steps) for (const taskType of taskTypes) this.waiting.notify(taskType, true);
      const waiter = { isForSome: grant.tenants !== undefined, knowsSteps: claim.steps };
      looks = await this.waiting.wait(taskTypes, remaining, left, waiter);
      if (!looks) return [];
    }
  }

  /** What the worker says of its types counts before it gets a task. @throws RequestValidationError */
  private async agree({ policies, version, taskTypes }: ClaimDto): Promise<void> {
    if (!policies || this.policies.haveHeard(version, policies.json)) return;
    const read = await policiesFrom((await treeOf(policies)) as JsonObject, { isOfWorker: true, turn: nextTurn });
    if ('errors' in read) throw refusal(read.errors);
    const strange = [...read.policies.keys()].find((taskType) => !taskTypes.includes(taskType));
    if (strange !== undefined) throw refusal([{ path: strange.slice(0, 128), message: 'is not among taskTypes' }]);
    if (version === undefined)
      throw new RequestValidationError([{ path: 'version', message: 'is needed beside policies' }]);
    await this.policies.register(version, read.policies, policies.json);
  }

  private refuseTooLong({ leaseSeconds = 0 }: ClaimDto): void {
    const { maxLeaseSeconds } = this.tasks;
    if (leaseSeconds <= maxLeaseSeconds) return;
    throw new RequestValidationError([
      { path: 'leaseSeconds', message: `must not be greater than ${maxLeaseSeconds}` },
    ]);
  }

  private register({ workerId, version, taskTypes, features, steps }: ClaimDto, grant: WorkerGrant): void {
    this.registry.see({
      workerId: workerIdOf(grant, workerId),
      version: version ?? null,
      taskTypes: [...new Set(taskTypes)].sort(),
      features: [...new Set([...features, ...(steps ? ['steps'] : [])])].sort(),
    });
  }

  /** The client is gone. Without the release these tasks would wait for their leases to expire, and lose an attempt. */
  private async handBack(leases: readonly Lease[]): Promise<void> {
    const released = leases.map(({ identity: { taskId }, token }) =>
      this.endAttempt.execute(taskId, { kind: 'release', token }, {}),
    );
    await Promise.allSettled(released);
  }

  private async claim(claim: ClaimDto, grant: WorkerGrant, taskTypes: readonly string[]): Promise<readonly Lease[]> {
    const workerId = workerIdOf(grant, claim.workerId);
    const principalId = `worker:${workerId}`;
    this.#looking += 1;
    try {
      return await this.observer.command('claim_tasks', { principalId, quiet: true }, () =>
        this.claimTasks.execute({ workerId, principalId }, taskTypes, claim.maxTasks, {
          tenants: grant.tenants,
          steps: claim.steps,
          leaseSeconds: claim.leaseSeconds,
        }),
      );
    } finally {
      this.#looking -= 1;
    }
  }
}

function refusal(errors: readonly FieldError[]): RequestValidationError {
  return new RequestValidationError(errors.map(({ path, message }) => ({ path: `policies.${path}`, message })));
}
