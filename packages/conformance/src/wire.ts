// What the documents say about the shapes of bodies; nothing here is believed before a clause has looked at it.

export type JsonObject = Readonly<Record<string, unknown>>;

export interface Created {
  readonly taskId: string;
  readonly status: string;
  readonly clientRequestId: string;
  readonly deduplicated: boolean;
}

export interface Envelope {
  readonly type: string;
  readonly taskId: string;
  readonly eventId: string;
  readonly createdAt: string;
  readonly payload: JsonObject;
}

export interface Page {
  readonly taskId: string;
  readonly events: readonly Envelope[];
  readonly nextAfterEventId?: string;
  readonly hasMore: boolean;
  readonly headEventId: string;
  readonly terminal: boolean;
}

export interface Snapshot {
  readonly taskId: string;
  readonly clientRequestId: string;
  readonly taskType: string;
  readonly status: string;
  readonly input?: JsonObject;
  readonly metadata: JsonObject;
  readonly attachments: readonly Attachment[];
  readonly attempt: number;
  readonly attemptsLeft: number;
  readonly cancellationRequested: boolean;
  readonly progress?: number;
  readonly openSuspension?: JsonObject;
  readonly result?: unknown;
  readonly failure?: JsonObject;
  readonly headEventId: string;
  readonly createdAt: string;
  readonly startedAt?: string;
  readonly finishedAt?: string;
}

export interface Attachment {
  readonly attachmentId: string;
  readonly filename: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** In a lease only. */
  readonly url?: string;
}

export interface TaskList {
  readonly items: readonly Snapshot[];
  readonly nextCursor: string | null;
}

export interface Action {
  readonly clientActionId: string;
  readonly suspendId: string;
  readonly actionType: string;
  readonly payload?: JsonObject;
}

export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly details: JsonObject;
  readonly timestamp: string;
  readonly correlationId: string;
}

export interface Lease {
  readonly taskId: string;
  readonly attempt: number;
  readonly leaseToken: string;
  readonly leaseExpiresAt: string;
  readonly taskType: string;
  readonly clientRequestId: string;
  readonly input: JsonObject;
  readonly metadata: JsonObject;
  readonly attachments: readonly Attachment[];
  readonly headEventId: string;
  readonly cancellationRequested: boolean;
  readonly resume?: JsonObject;
  readonly answers: readonly JsonObject[];
}

export interface WorkerEvent {
  readonly type: string;
  readonly payload: JsonObject;
}

export const TERMINAL_TYPES: readonly string[] = ['TASK_COMPLETED', 'TASK_FAILED', 'TASK_CANCELLED'];
/** An id of the right form that no service gives out: its time is that of 1970. */
export const ABSENT_TASK = '00000000-0000-7000-8000-000000000000';
