import type { WorkerGrant } from './worker-grant.js';

/** Which executors this replica has. */
export abstract class ExecutionConfig {
  /** `inline`: this process runs its handlers. `worker`: remote workers may claim. From EXECUTOR. Defaults to `inline`. */
  abstract readonly executors: readonly ('inline' | 'worker')[];
  /** Whether the `demo.*` handlers exist. From DEMO_TASKS. Defaults to true, false in production-like environments. */
  abstract readonly demoTasks: boolean;
  /** Whether clients see what an inline handler threw. From EXPOSE_HANDLER_ERRORS. Defaults to true, false in production-like environments. */
  abstract readonly exposeHandlerErrors: boolean;
  /** Inline tasks at a time in this process. From INLINE_CONCURRENCY. Defaults to 50. */
  abstract readonly inlineConcurrency: number;
  /** Bearer tokens and what each grants. From WORKER_TOKENS. Defaults to none: remote workers are refused. */
  abstract readonly workerTokens: readonly WorkerGrant[];
}
