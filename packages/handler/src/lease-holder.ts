import type { Readable } from 'node:stream';
import type { Attachment } from '#protocol/snapshots.js';
import type { HandlerEvent } from './events.js';
import type { FileContent } from './file-content.js';
import type { Question } from './question.js';

/** What a run of a handler does with its lease. Every call may be made again, the same, until it is answered. */
export interface LeaseHolder {
  /** Milliseconds that the lease lasts from the last accepted call. */
  readonly leaseMs: number;
  /** Bytes of one event's payload that the service takes; absent where it has not said. */
  readonly maxEventBytes?: number;
  /** Whether clients see what the handler threw, also when it is no TaskFailure. Defaults to false. */
  readonly exposesErrors?: boolean;
  /**
   * Stores the batch whole or not at all. Batches are numbered from 1. @returns the id of its last event
   * @throws LeaseLost, Unavailable, Refused
   */
  append(batchSeq: number, events: readonly HandlerEvent[]): Promise<number>;
  /** Stores the result of a step, which counts as a batch. @throws LeaseLost, Unavailable, Refused */
  finishStep(batchSeq: number, step: FinishedStep): Promise<StoredResult>;
  /** Stores a file of the task under its name. @throws LeaseLost, Unavailable, Refused */
  attach(file: FileToAttach): Promise<Attachment>;
  /** A sign of life. Revives a lease that expired and that nobody took. @throws LeaseLost, Unavailable */
  renew(): Promise<void>;
  /** Ends the lease with a question. @throws LeaseLost, Unavailable, Refused */
  suspend(question: Question): Promise<void>;
  /** Ends the lease. @throws LeaseLost, Unavailable, Refused */
  end(ending: Ending): Promise<void>;
  /** The bytes of a file of the task. Where they come over a network, the stream ends with the signal. */
  readAttachment(attachmentId: string, signal: AbortSignal): Promise<Readable>;
}

export interface FileToAttach extends FileContent {
  readonly filename: string;
  /** Undefined: what the bytes and the name say. */
  readonly mediaType: string | undefined;
}

/** `key` with its index and version. */
export interface FinishedStep {
  readonly key: string;
  readonly resultJson: string;
}

/** What is stored of a step. Where it was finished before, that is the result of then. */
export interface StoredResult {
  /** The id of its TASK_STEP. */
  readonly eventId: number;
  readonly resultJson: string;
}

export type Ending =
  | { readonly kind: 'complete'; readonly resultJson: string }
  | ({ readonly kind: 'fail' } & Failure)
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'release' };

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
}
