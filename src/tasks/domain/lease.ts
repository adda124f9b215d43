import type { Attachment } from '#protocol/snapshots.js';
import type { JsonText } from '../../json/json-text.js';
import type { TaskIdentity } from './task-identity.js';

/** The result of a step, and the event that says that it is finished. */
export interface StoredStep {
  readonly key: string;
  readonly result: JsonText;
  readonly eventId: number;
}

/** The right to run one attempt, as long as its executor gives signs of life. */
export interface Lease {
  readonly identity: TaskIdentity;
  readonly token: string;
  readonly attempt: number;
  readonly headEventId: number;
  readonly leaseExpiresAt: string;
  readonly input: JsonText | null;
  readonly metadata: JsonText | null;
  readonly attachments: readonly Attachment[];
  readonly traceparent: string | null;
  readonly cancellationRequested: boolean;
  /** All answers to the task's questions, oldest first, each an `Answer`. The attempt continues with the last one. */
  readonly answers: readonly JsonText[];
  /** The finished steps, oldest first; undefined where steps are not stored. */
  readonly steps: readonly StoredStep[] | undefined;
}
