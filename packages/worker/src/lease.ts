import { marked, storedJson } from '../../protocol/src/exact-json.js';
import type { LeasedTask } from '../../handler/src/attempt.js';
import type { Lease as LeaseAnswer, RenewedLease, SuspendAnswer } from '../../protocol/src/snapshots.js';

/** A lease, as the worker protocol shows it. An older service may leave out the answers. */
export type Lease = Omit<LeaseAnswer, 'answers'> & Partial<Pick<LeaseAnswer, 'answers'>>;

/** What every answer to the holder of a lease may say. */
export type SignOfLease = Partial<RenewedLease>;

/** A lease twice. In `exact` big integers are marks. */
export interface GivenLease {
  readonly lease: Lease;
  readonly exact: Lease;
}

export function leasedTask(lease: Lease, exact: Lease): LeasedTask {
  const { taskId, taskType, attempt, input, metadata, traceparent } = lease;
  return {
    taskId,
    taskType,
    attempt,
    input,
    metadata,
    traceparent,
    attachments: lease.attachments.map(({ url: _, ...attachment }) => attachment),
    answers: answersOf(lease),
    texts: {
      input: () => storedJson(exact.input),
      metadata: () => storedJson(exact.metadata),
      payload: (index) => storedJson(answersOf(exact)[index]?.payload ?? {}),
    },
  };
}

function answersOf({ answers, resume }: Lease): readonly SuspendAnswer[] {
  return answers ?? (resume ? [resume] : []);
}

interface Leases {
  readonly leases: readonly Lease[];
}

/** Most answers have no big integer, and are parsed once. */
export function leasesIn(json: string): readonly GivenLease[] {
  const { leases } = JSON.parse(json) as Leases;
  const withMarks = marked(json);
  const exact = withMarks === json ? leases : (JSON.parse(withMarks) as Leases).leases;
  return leases.map((lease, index) => ({ lease, exact: exact[index] ?? lease }));
}
