/** Something that the service is not told, or did not take. */
export interface WorkerProblem {
  /**
   * `claim_failed`: no answer to the claim, or a refusal; once for each series, the worker goes on asking. `handler_failed`: a
   * handler threw something that is no `TaskFailure`; clients see HANDLER_ERROR and nothing of it. `call_refused`: what
   * the handler wanted stored cannot be, or the service refused how it ended.
   */
  readonly kind: 'claim_failed' | 'handler_failed' | 'call_refused';
  readonly error: unknown;
  readonly taskId?: string;
  readonly taskType?: string;
  readonly attempt?: number;
}

export function printProblem({ kind, error, taskId, taskType, attempt }: WorkerProblem): void {
  const task = taskId === undefined ? '' : ` (task ${taskId}, ${taskType}, attempt ${attempt})`;
  console.error(`taskbridge worker: ${kind}${task}:`, error);
}
