/** What the client itself says, besides the codes of PROTOCOL.md. */
export type ClientCode =
  /** No answer came, or one of a proxy that is not of the service. It may pass. */
  | 'UNREACHABLE'
  /** `client.close()` was called. */
  | 'CLOSED'
  /** `answer` was called while the task asks nothing. */
  | 'NO_QUESTION';

/** A refusal of the service, or a failure on the way to it. Decide by `code`: docs/client-errors.md says what to do. */
export class TaskBridgeError extends Error {
  override readonly name: string = 'TaskBridgeError';

  constructor(
    /** A code of PROTOCOL.md, a `ClientCode`, or `HTTP_` and the status where a proxy answered. */
    readonly code: string,
    message: string,
    /** Of the HTTP answer. Absent where none came. */
    readonly status?: number,
    readonly details: Readonly<Record<string, unknown>> = {},
    /** Leads the operator to the logs. */
    readonly correlationId?: string,
    /** How long the service asks to wait, in milliseconds. Negative: not at all. */
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }

  /** Whether the same request may succeed later. */
  get mayPass(): boolean {
    const { status } = this;
    return this.code === 'UNREACHABLE' || status === 408 || status === 429 || (status !== undefined && status >= 500);
  }
}

/** Instead of a time to wait: the connection ended on purpose, and the next one is due. */
export const AT_ONCE = -1;

/** The task ended with TASK_FAILED. `code` and `retryable` are of that event. */
export class TaskFailed extends Error {
  override readonly name = 'TaskFailed';
  readonly code: string;
  /** Whether the same request as a new task might succeed. */
  readonly retryable: boolean;

  constructor(
    readonly taskId: string,
    { code, message, retryable }: { readonly code: string; readonly message: string; readonly retryable: boolean },
  ) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

/** The task ended with TASK_CANCELLED. */
export class TaskCancelled extends Error {
  override readonly name = 'TaskCancelled';

  constructor(
    readonly taskId: string,
    readonly reason: string,
  ) {
    super(`The task was cancelled: ${reason}`);
  }
}

export const unreachable = (message = 'The connection was lost.', retryAfterMs?: number): TaskBridgeError =>
  new TaskBridgeError('UNREACHABLE', message, undefined, {}, undefined, retryAfterMs);

/** What went wrong on the way counts as UNREACHABLE. */
export const asError = (error: unknown): TaskBridgeError =>
  error instanceof TaskBridgeError ? error : unreachable(String(error));
