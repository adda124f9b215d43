import { Injectable } from '@nestjs/common';
import { SYSTEM_PRINCIPAL_ID } from '../../auth/auth-context.js';
import { ClaimTasks } from '../../tasks/claim-tasks.js';
import { Handlers } from '../handlers.js';
import { ExecutionConfig } from '../execution.config.js';
import { InlineWorker } from './inline-worker.js';
import { type Room, TaskExecutor } from '../../tasks/ports/task-executor.js';
import { WaitingClaims } from '../waiting-claims.js';
import { WorkerSignals } from '../worker-signals.js';

/** Tasks wait in PostgreSQL until a worker claims them under a lease. A new task wakes a claim that waits on this replica. */
@Injectable()
export class LeaseExecutor extends TaskExecutor {
  constructor(
    private readonly handlers: Handlers,
    private readonly inlineWorker: InlineWorker,
    private readonly waiting: WaitingClaims,
    private readonly signals: WorkerSignals,
    private readonly config: ExecutionConfig,
    private readonly claimTasks: ClaimTasks,
  ) {
    super();
  }

  override get taskTypes(): readonly string[] {
    return this.handlers.taskTypes;
  }

  override accepts(taskType: string): boolean {
    return this.config.executors.includes('worker') || this.handlers.has(taskType);
  }

  override roomFor(taskTypes: readonly string[]): Room | undefined {
    return this.inlineWorker.roomFor(taskTypes);
  }

  override submitted({ taskType }: { readonly taskType: string }): void {
    this.waiting.notify(taskType);
  }

  override claimable(taskType: string): void {
    this.waiting.notify(taskType);
  }

  override cancelled({ taskId, workerId }: { readonly taskId: string; readonly workerId: string | null }): void {
    this.inlineWorker.cancel(taskId);
    if (workerId !== null) this.signals.cancelled(workerId);
  }

  override resumed({ taskType }: { readonly taskType: string }): void {
    this.waiting.notify(taskType);
  }

  /** The statement that hands out work, with a limit of none. */
  override async checkHealth(): Promise<void> {
    await this.claimTasks.execute({ workerId: 'health', principalId: SYSTEM_PRINCIPAL_ID }, [], 1);
  }
}
