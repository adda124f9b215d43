import { Global, Module } from '@nestjs/common';
import { TasksModule } from '../tasks/tasks.module.js';
import { AppendWorkerEvents } from './append-worker-events.js';
import { FinishWorkerStep } from './finish-worker-step.js';
import { WorkerReach } from './worker-reach.js';
import { WorkerRegistry } from './worker-registry.js';
import { WorkerSignals } from './worker-signals.js';
import { ClaimForWorker } from './worker-api/claim-for-worker.js';
import { Handlers } from './handlers.js';
import { InlineWorker } from './inline/inline-worker.js';
import { LeaseExecutor } from './inline/lease-executor.js';
import { OwnLeases } from './own-leases.js';
import { Reaper } from './reaper.js';
import { HandlerPolicies } from '../tasks/ports/handler-policies.js';
import { TaskExecutor } from '../tasks/ports/task-executor.js';
import { WaitingClaims } from './waiting-claims.js';
import { WorkerController } from './worker-api/worker.controller.js';
import { WorkerTokenGuard } from './worker-api/worker-token.guard.js';

/** Executors of tasks, and the reaper of lost attempts. */
@Global()
@Module({
  imports: [TasksModule],
  controllers: [WorkerController],
  providers: [
    Handlers,
    { provide: HandlerPolicies, useExisting: Handlers },
    WaitingClaims,
    InlineWorker,
    { provide: OwnLeases, useExisting: InlineWorker },
    Reaper,
    ClaimForWorker,
    AppendWorkerEvents,
    FinishWorkerStep,
    WorkerReach,
    WorkerRegistry,
    WorkerSignals,
    WorkerTokenGuard,
    { provide: TaskExecutor, useClass: LeaseExecutor },
  ],
  exports: [HandlerPolicies, WaitingClaims, InlineWorker, Reaper, TaskExecutor],
})
export class ExecutionModule {}
