import { Module, type DynamicModule } from '@nestjs/common';
import { unlessHosted, type Hosted } from '../hosted.js';
import { TasksModule } from '../tasks/tasks.module.js';
import { AppendWorkerEvents } from './append-worker-events.js';
import { ClaimForWorker } from './claim-for-worker.js';
import { Handlers } from './handlers.js';
import { InlineWorker } from './inline-worker.js';
import { LeaseExecutor } from './lease-executor.js';
import { Reaper } from './reaper.js';
import { TaskExecutor } from './task-executor.js';
import { WaitingClaims } from './waiting-claims.js';
import { WorkerController } from './worker.controller.js';
import { WorkerTokenGuard } from './worker-token.guard.js';

/** Executors of tasks, and the reaper of lost attempts. */
@Module({})
export class ExecutionModule {
  static register(hosted: Hosted): DynamicModule {
    const ports = unlessHosted(hosted, { provide: TaskExecutor, useClass: LeaseExecutor });
    return {
      module: ExecutionModule,
      global: true,
      imports: [TasksModule],
      controllers: [WorkerController],
      providers: [
        Handlers,
        WaitingClaims,
        InlineWorker,
        Reaper,
        ClaimForWorker,
        AppendWorkerEvents,
        WorkerTokenGuard,
        ...ports,
      ],
      exports: [WaitingClaims, InlineWorker, Reaper, ...ports],
    };
  }
}
