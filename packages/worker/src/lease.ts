import type { LeasedTask } from '../../handler/src/attempt.js';
import type { JsonObject, SuspendAnswer } from '../../handler/src/task-handler.js';

/** A lease, as the worker protocol shows it. */
export interface Lease {
  readonly taskId: string;
  readonly attempt: number;
  readonly leaseToken: string;
  /** By the service's clock. */
  readonly leaseExpiresAt: string;
  readonly taskType: string;
  readonly input: JsonObject;
  readonly metadata: JsonObject;
  readonly attachments: readonly LeasedAttachment[];
  readonly traceparent: string | null;
  readonly cancellationRequested: boolean;
  readonly resume?: SuspendAnswer;
  /** All answers so far, oldest first. */
  readonly answers?: readonly SuspendAnswer[];
}

export interface LeasedAttachment {
  readonly attachmentId: string;
  readonly filename: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly url: string;
}

/** What every answer to the holder of a lease may say. */
export interface SignOfLease {
  readonly leaseExpiresAt?: string;
  readonly cancellationRequested?: boolean;
}

export function leasedTask(lease: Lease): LeasedTask {
  const { taskId, taskType, attempt, input, metadata, traceparent, resume, answers } = lease;
  return {
    taskId,
    taskType,
    attempt,
    input,
    metadata,
    traceparent,
    attachments: lease.attachments.map(({ url: _, ...attachment }) => attachment),
    answers: answers ?? (resume ? [resume] : []),
  };
}
