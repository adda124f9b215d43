import { TaskBridgeError } from '../../taskbridge-error.js';

/** Absent and foreign look the same: the message names no reason and no id. */
export class TaskNotFound extends TaskBridgeError {
  readonly code = 'TASK_NOT_FOUND';
  readonly kind = 'absent';
  constructor() {
    super('No such task.');
  }
}

/** Only for those who may read the task. */
export class AttachmentNotFound extends TaskBridgeError {
  readonly code = 'NOT_FOUND';
  readonly kind = 'absent';
  constructor() {
    super('The task has no such attachment.');
  }
}

export class IdempotencyConflict extends TaskBridgeError {
  readonly code = 'IDEMPOTENCY_CONFLICT';
  readonly kind = 'conflict';
  constructor(what: string) {
    super(`This ${what} was used before with other content.`);
  }
}

export class InvalidCursor extends TaskBridgeError {
  readonly code = 'INVALID_CURSOR';
  readonly kind = 'invalid';
  constructor(message = 'The cursor must be a decimal event id of this task, "0" or empty for the start.') {
    super(message);
  }
}

export class CursorAhead extends TaskBridgeError {
  readonly code = 'CURSOR_AHEAD';
  readonly kind = 'conflict';
  override readonly details: { readonly headEventId: string };
  constructor(headEventId: number) {
    super('The cursor is greater than the last stored event id of this task.');
    this.details = { headEventId: String(headEventId) };
  }
}

/** The caller does not hold the task: another attempt does, or the task is over. Nothing was stored. */
export class LeaseLost extends TaskBridgeError {
  readonly code = 'LEASE_LOST';
  readonly kind = 'conflict';
  constructor() {
    super('This lease is over; nothing was stored.');
  }
}

/** A batch before this one is missing. */
export class BatchOutOfOrder extends TaskBridgeError {
  readonly code = 'BATCH_OUT_OF_ORDER';
  readonly kind = 'conflict';
  override readonly details: { readonly expected: number };
  constructor(expected: number) {
    super('Batches are numbered 1, 2, 3… within a lease; one is missing.');
    this.details = { expected };
  }
}

export class EventInvalid extends TaskBridgeError {
  readonly code = 'REQUEST_VALIDATION_ERROR';
  readonly kind = 'unprocessable';
  override readonly details: { readonly errors: readonly { readonly path: string; readonly message: string }[] };
  constructor(
    readonly path: string,
    readonly problem: string,
  ) {
    super(`The event is not valid: ${path} ${problem}.`);
    this.details = { errors: [{ path, message: problem }] };
  }

  /** The same, seen from the document that the event is a part of. */
  within(parent: string): EventInvalid {
    return new EventInvalid(`${parent}.${this.path}`, this.problem);
  }
}

export class EventTooLarge extends TaskBridgeError {
  readonly code = 'PAYLOAD_TOO_LARGE';
  readonly kind = 'too_large';
  constructor(readonly maxBytes: number) {
    super(`An event payload may have at most ${maxBytes} bytes.`);
  }
}

/** Tasks of this type have no known executor. */
export class UnknownTaskType extends TaskBridgeError {
  readonly code = 'REQUEST_VALIDATION_ERROR';
  readonly kind = 'unprocessable';
  override readonly details: { readonly errors: readonly { readonly path: string; readonly message: string }[] };
  constructor(known: readonly string[]) {
    super('This taskType has no known executor.');
    const names = known.length > 0 ? known.join(', ') : 'none';
    this.details = { errors: [{ path: 'taskType', message: `it has no known executor; known types: ${names}` }] };
  }
}

/** A new task would be one more than the owner may have at a time. A repeat of an earlier request never gets this. */
export class TooManyOpenTasks extends TaskBridgeError {
  readonly code = 'TOO_MANY_REQUESTS';
  readonly kind = 'too_many';
  override readonly details: { readonly maxOpenTasks: number };
  /** Tasks end when they end; this keeps a client that waits for it from asking all the time. */
  override readonly retryAfterSeconds = 5;
  constructor(maxOpenTasks: number) {
    super(`This principal may have ${maxOpenTasks} tasks at a time that are not over.`);
    this.details = { maxOpenTasks };
  }
}

/** More work waits than this replica takes in. Nothing was stored. */
export class TooMuchWaiting extends TaskBridgeError {
  readonly code = 'SERVICE_UNAVAILABLE';
  readonly kind = 'unavailable';
  override readonly retryAfterSeconds = 1;
  constructor() {
    super('Too much is waiting to be stored; try again.');
  }
}

export class SuspensionNotFound extends TaskBridgeError {
  readonly code = 'NOT_FOUND';
  readonly kind = 'absent';
  constructor() {
    super('This task never asked under that suspendId.');
  }
}

export class TaskAlreadyTerminal extends TaskBridgeError {
  readonly code = 'TASK_ALREADY_TERMINAL';
  readonly kind = 'conflict';
  constructor() {
    super('The task is over.');
  }
}

/** The stored state of the task does not allow a change. An operator has to repair it; nothing was stored. */
export class TaskAside extends TaskBridgeError {
  readonly code = 'TASK_ASIDE';
  readonly kind = 'conflict';
  constructor() {
    super('The task was set aside and waits for an operator; nothing was stored.');
  }
}

export class ActionNotAllowed extends TaskBridgeError {
  readonly code = 'ACTION_NOT_ALLOWED';
  readonly kind = 'conflict';
  override readonly details: { readonly allowedActions: readonly string[] };
  constructor(allowedActions: readonly string[]) {
    super('The question does not allow this action.');
    this.details = { allowedActions };
  }
}

/** The task has asked this before; its answer is in the lease. */
export class AlreadyAsked extends TaskBridgeError {
  readonly code = 'INVALID_TASK_STATE';
  readonly kind = 'conflict';
  constructor() {
    super('The task has asked under this suspendId before.');
  }
}
