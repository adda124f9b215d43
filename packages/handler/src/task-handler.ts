import type { Readable } from 'node:stream';
import type { GivenPayload, SuspensionKind } from '#protocol/events.js';
import type { JsonObject } from '#protocol/json-schema.js';
import type { Attachment, SuspendAnswer } from '#protocol/snapshots.js';

export type { JsonObject, SuspendAnswer };

/** The calls of a running handler. You need not await them: the end of the attempt waits for all of them. */
export interface TaskContext {
  readonly taskId: string;
  readonly taskType: string;
  /** From 1. An earlier attempt may have done work outside already. */
  readonly attempt: number;
  readonly metadata: JsonObject;
  /**
   * The JSON of the input, the metadata, or the payload of an answer, as the service keeps it. A number in these objects is the
   * nearest double. In this text it has all its digits.
   * @throws TypeError for any other value
   */
  rawJson(of: JsonObject): string;
  /** The files that came with the task, in their order. */
  readonly attachments: readonly TaskAttachment[];
  /** W3C trace context of the request that created the task, to go on with its trace. */
  readonly traceparent?: string;
  /** Aborts when the task is cancelled, the lease is lost, or the process stops: stop and throw. */
  readonly signal: AbortSignal;
  /** The last answer, when this invocation follows one. */
  readonly resume?: SuspendAnswer;
  /**
   * Asks the owner. Ends this invocation: the promise rejects, and the handler must not catch that. After the answer the handler
   * runs again from its start, on any instance, and the same call returns the answer.
   */
  suspend(question: SuspendRequest): Promise<SuspendAnswer>;
  /** `progress` is 0 to 100. Resolves when it is stored. */
  progress(progress: number, details?: ProgressDetails): Promise<void>;
  /** Resolves when it is stored. */
  message(message: string, level?: GivenPayload<'TASK_MESSAGE'>['level']): Promise<void>;
  /**
   * Streamed output such as a model's tokens. Defaults to appending to the channel `text`. Resolves when it is buffered, and waits while
   * more than 256 KiB are; what comes up within 50 ms is stored as one event. Half a character waits for its other half.
   */
  output(
    data: string,
    options?: { readonly channel?: string; readonly op?: GivenPayload<'TASK_OUTPUT'>['op'] },
  ): Promise<void>;
}

/** The members of TASK_PROGRESS besides `progress`. */
export type ProgressDetails = Omit<GivenPayload<'TASK_PROGRESS'>, 'progress'>;

export interface TaskAttachment extends Attachment {
  /** The bytes, from the store, as long as the attempt runs. Read the stream to its end, or destroy it. */
  open(): Promise<Readable>;
}

/** A question to the owner of the task. */
export interface SuspendRequest {
  /** Names the call, so that its answer finds it. Defaults to its ordinal: `1` for the first `suspend` of an invocation. */
  readonly key?: string;
  readonly reasonCode: string;
  /** What may be answered: one or more action types. */
  readonly allowedActions: readonly string[];
  /** Defaults to `USER_ACTION_REQUIRED`. */
  readonly kind?: SuspensionKind;
  /** Of `interaction`. Defaults to 1. */
  readonly schemaVersion?: number;
  /** When the task fails with SUSPENSION_EXPIRED if nobody answered. Defaults to never. */
  readonly expiresAt?: Date | string | number;
  /** Hints for the client that shows the question. */
  readonly uiHints?: JsonObject;
  readonly interaction?: JsonObject;
}

/**
 * Executes one type of task. What it returns becomes the result; a `bigint` in it is written by its digits. Throw `TaskFailure` to
 * fail with a code of your own; any other error counts as passing and is retried until the service's TASK_MAX_ATTEMPTS are spent.
 */
export type TaskHandler = (input: JsonObject, context: TaskContext) => unknown;

/** Handlers by task type. */
export type TaskHandlers = Readonly<Record<string, TaskHandler>>;

/** A handler's own way to fail. `retryable` defaults to false, `retryAfterMs` to the service's backoff. */
export class TaskFailure extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly options: { readonly retryable?: boolean; readonly retryAfterMs?: number } = {},
  ) {
    super(message);
  }
}

/** What `suspend` rejects with to end the invocation. */
export class Suspended extends Error {
  constructor() {
    super('The handler waits for an answer; it runs again from its start.');
  }
}

/** Why the signal of a running handler aborts. */
export class AttemptStopped extends Error {
  constructor(readonly why: 'cancelled' | 'lease_lost' | 'released') {
    super(`The attempt is over: ${why}.`);
  }
}
