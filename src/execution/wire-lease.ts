import type { Lease } from '../tasks/claim-tasks.js';
import type { Attachment } from '../tasks/store/attachments.js';
import type { Answer } from '../tasks/store/suspensions.js';

/** A lease as the worker protocol shows it. */
export interface WireLease {
  readonly taskId: string;
  readonly attempt: number;
  readonly leaseToken: string;
  readonly leaseExpiresAt: string;
  readonly taskType: string;
  readonly clientRequestId: string;
  readonly input: object;
  readonly metadata: object;
  readonly ownerId: string;
  /** `url` is relative to the service. */
  readonly attachments: readonly (Attachment & { readonly url: string })[];
  readonly headEventId: string;
  readonly traceparent: string | null;
  readonly cancellationRequested: boolean;
  /** The answer that the attempt goes on with. */
  readonly resume?: Answer;
  /** All answers so far, oldest first: for handlers that run again from their start. */
  readonly answers: readonly Answer[];
}

export function wireLease(lease: Lease): WireLease {
  const { identity, answers } = lease;
  const resume = answers.at(-1);
  return {
    taskId: identity.taskId,
    attempt: lease.attempt,
    leaseToken: lease.token,
    leaseExpiresAt: lease.leaseExpiresAt,
    taskType: identity.taskType,
    clientRequestId: identity.clientRequestId,
    input: lease.input ?? {},
    metadata: lease.metadata ?? {},
    ownerId: identity.ownerId,
    attachments: lease.attachments.map((file) => ({
      ...file,
      url: `/api/v1/tasks/${identity.taskId}/attachments/${file.attachmentId}`,
    })),
    headEventId: String(lease.headEventId),
    traceparent: lease.traceparent,
    cancellationRequested: lease.cancellationRequested,
    ...(resume && { resume }),
    answers,
  };
}
