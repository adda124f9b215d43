import type { LeasedTask } from '../../handler/src/attempt.js';
import type { Lease as GivenLease, RenewedLease } from '../../protocol/src/snapshots.js';

/** A lease, as the worker protocol shows it. An older service may leave out the answers. */
export type Lease = Omit<GivenLease, 'answers'> & Partial<Pick<GivenLease, 'answers'>>;

/** What every answer to the holder of a lease may say. */
export type SignOfLease = Partial<RenewedLease>;

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
