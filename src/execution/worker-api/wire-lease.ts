import type { Lease as WorkerLease } from '#protocol/snapshots.js';
import { arrayOf, JsonText, type WithText, writeObject } from '../../json/json-text.js';
import type { Lease } from '../../tasks/domain/lease.js';

const EMPTY = new JsonText('{}');

/** A lease in the form of the worker protocol. Answers and results of steps stay the texts that are stored. */
export type WireLease = Omit<WithText<WorkerLease>, 'answers' | 'steps'> & {
  readonly answers: JsonText;
  readonly steps?: JsonText;
};

export function wireLease(lease: Lease): WireLease {
  const { identity, answers, steps } = lease;
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
    ...(steps && { steps: arrayOf(steps.map(({ key, result }) => new JsonText(writeObject({ key, result })))) }),
  };
}
