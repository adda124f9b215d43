import type { Readable } from 'node:stream';
import type { GivenPayload, SuspensionKind } from '#protocol/events.js';
import type { JsonObject } from '#protocol/json-schema.js';
import type { Attachment, SuspendAnswer } from '#protocol/snapshots.js';

export type { Attachment, JsonObject, SuspendAnswer };

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
  /**
   * The files of the task when the attempt began: those that came with it, in their order, then those that earlier runs of the handler
   * attached, with `source` `worker`.
   */
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
  /**
   * Work that is done once in the life of the task. When `body` resolves, its result is stored (JSON, at most 64 KiB), and what was put
   * out so far stays valid. A later run of the handler gets the stored result, as JSON, and does not run `body`. A key is used once
   * in a run: loops give an `index`. While a step is open that puts something out, no other one may be open (STEP_OVERLAP).
   */
  step<T>(key: string, body: StepRun<T>, options?: StepOptions): Promise<T>;
  /**
   * Attaches a file to the task. Its owner may download it, and a later attempt may read it. Resolves when it is stored. The task has one
   * file of its handler under a name: other bytes replace it, the same bytes again are the same file. A later run gets the file that is
   * stored, until the last finished step has returned. A stream is written to a temporary file first.
   * `filename` is a plain base name. `mediaType` defaults to what the bytes and the name say. A file that the service does not take,
   * such as one that is too large, rejects with ATTACHMENT_REFUSED.
   */
  attach(filename: string, bytes: FileBytes, options?: { readonly mediaType?: string }): Promise<Attachment>;
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

/** Text is stored as UTF-8. */
export type FileBytes = string | Uint8Array | Blob | AsyncIterable<string | Uint8Array>;

export type StepRun<T> = (step: StepContext) => T | Promise<T>;

export interface StepContext {
  /** `taskId:key`: the same in every run, for effects in the outside world that must happen once. */
  readonly idempotencyKey: string;
  /** Aborts with the signal of the handler, and when the time of this try is over. */
  readonly signal: AbortSignal;
}

export interface StepOptions {
  /** The place in a loop, from 0: the step is stored as `key#index`. */
  readonly index?: number;
  /** Another version is another step: 2 is stored as `key@2`. Defaults to 1, which is `key`. */
  readonly version?: number;
  /** How long one try may take. Defaults to no limit. */
  readonly timeoutSeconds?: number;
  /** Further tries, in the same attempt, after an error. A `TaskFailure` that is not retryable has none. Defaults to 0. */
  readonly retries?: number;
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
  /** By action, of `allowedActions`: the JSON Schema that the payload of an answer has to fit. The service refuses others with 422. */
  readonly actionSchemas?: JsonObject;
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
