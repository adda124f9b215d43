/** Which executors this replica has. */
export abstract class ExecutionConfig {
  /** Whether this process runs the handlers it has. From EXECUTOR (contains `inline`). Defaults to true. */
  abstract readonly inline: boolean;
  /** Whether remote workers may claim over HTTP. From EXECUTOR (contains `worker`). Defaults to false. */
  abstract readonly worker: boolean;
  /** Whether the `demo.*` handlers exist. From DEMO_TASKS. Defaults to true, false in production-like environments. */
  abstract readonly demoTasks: boolean;
  /** Inline tasks at a time in this process. From INLINE_CONCURRENCY. Defaults to 50. */
  abstract readonly inlineConcurrency: number;
  /** Bearer tokens that grant `tasks:execute`. From WORKER_TOKENS. Defaults to none: remote workers are refused. */
  abstract readonly workerTokens: readonly string[];
}
