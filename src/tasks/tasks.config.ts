import type { TaskPolicy } from '#protocol/policies.js';

/** Limits of one task's log and of one principal's tasks. */
export abstract class TasksConfig {
  /** Bytes of one event's payload as JSON. From MAX_EVENT_PAYLOAD_BYTES. Defaults to 65536. */
  abstract readonly maxEventPayloadBytes: number;
  /** Events of one task, the terminal one included. From MAX_EVENTS_PER_TASK. Defaults to 100000. */
  abstract readonly maxEventsPerTask: number;
  /** Attempts that may fail or be lost before the task does. From TASK_MAX_ATTEMPTS. Defaults to 3. */
  abstract readonly maxAttempts: number;
  /** How long a lease lasts without a sign of life. From LEASE_SECONDS. Defaults to 30. */
  abstract readonly leaseSeconds: number;
  /** The longest lease that a claim may ask for. From MAX_LEASE_SECONDS. Defaults to 600. */
  abstract readonly maxLeaseSeconds: number;
  /** How long a running task may take to obey a cancellation. From CANCEL_GRACE_SECONDS. Defaults to 30. */
  abstract readonly cancelGraceSeconds: number;
  /** Tasks of one owner that are not over; 0 is no cap. From OPEN_TASKS_PER_PRINCIPAL. Defaults to 10000. */
  abstract readonly openTasksPerPrincipal: number;
  /** The policies that the operator has set, by task type. From TASK_TYPES. Defaults to none. */
  abstract readonly taskTypes: ReadonlyMap<string, TaskPolicy>;
}
