import { arrayOf, JsonText } from '../http/json-text.js';
import type { Lease } from '../tasks/claim-tasks.js';
import type { Attachment } from '../tasks/store/attachments.js';

const EMPTY = new JsonText('{}');

/** A lease in the form of the worker protocol. */
export interface WireLease {
  readonly taskId: string;
  readonly attempt: number;
  readonly leaseToken: string;
  readonly leaseExpiresAt: string;
  readonly taskType: string;
  readonly clientRequestId: string;
  readonly input: JsonText;
  readonly metadata: JsonText;
  readonly ownerId: string;
  /** `url` is relative to the service. */
  readonly attachments: readonly (Attachment & { readonly url: string })[];
  readonly headEventId: string;
  readonly traceparent: string | null;
  readonly cancellationRequested: boolean;
  /** The last answer, with which the attempt continues. */
  readonly resume?: JsonText;
  /** All answers so far, oldest first: for handlers that run again from their start. */
  readonly answers: JsonText;
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
    input: lease.input ?? EMPTY,
    metadata: lease.metadata ?? EMPTY,
    ownerId: identity.ownerId,
    attachments: lease.attachments.map((file) => ({
      ...file,
      url: `/api/v1/tasks/${identity.taskId}/attachments/${file.attachmentId}`,
    })),
    headEventId: String(lease.headEventId),
    traceparent: lease.traceparent,
    cancellationRequested: lease.cancellationRequested,
    ...(resume && { resume }),
    answers: arrayOf(answers),
  };
}
