import type { Readable } from 'node:stream';
import type { HandlerEvent } from './events.js';
import type { Question } from './question.js';

/** The calls of a handler's run under its lease. Every call may be repeated unchanged until it gets an answer. */
export interface LeaseHolder {
  /** Milliseconds that the lease lasts from the last accepted call. */
  readonly leaseMs: number;
  /** The most bytes of one event's payload; absent when the service has not named it. */
  readonly maxEventBytes?: number;
  /** Stores the batch whole or not at all. Batches are numbered from 1. @throws LeaseLost, Unavailable, Refused */
  append(batchSeq: number, events: readonly HandlerEvent[]): Promise<void>;
  /** A sign of life. Revives a lease that expired and that nobody took. @throws LeaseLost, Unavailable */
  renew(): Promise<void>;
  /** Ends the lease with a question. @throws LeaseLost, Unavailable, Refused */
  suspend(question: Question): Promise<void>;
  /** Ends the lease. @throws LeaseLost, Unavailable, Refused */
  end(ending: Ending): Promise<void>;
  /** The bytes of a file of the task. Over a network, the stream ends with the signal. */
  readAttachment(attachmentId: string, signal: AbortSignal): Promise<Readable>;
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

/** The lease has expired or is over. Only `renew` tells which. */
export class LeaseLost extends Error {
  constructor() {
    super('The lease is over.');
  }
}

/** No answer, or one that says "later". The call may have taken effect, and is repeated. */
export class Unavailable extends Error {
  constructor(
    message: string,
    readonly retryAfterMs = 0,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

/** The service refuses to store it, and would refuse it again. Nothing of the call was stored. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
