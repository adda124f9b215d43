import { ProtocolError } from '../../errors.js';

/** Absent and foreign look the same: the message names no reason and no id. */
export class TaskNotFound extends ProtocolError {
  readonly code = 'TASK_NOT_FOUND';
  constructor() {
    super('No such task.');
  }
}

/** The policy does not let this principal create such a task. */
export class CreationForbidden extends ProtocolError {
  readonly code = 'TASK_OWNERSHIP_ERROR';
  constructor() {
    super('This principal may not create such a task.');
  }
}

/** Only for those who may read the task. */
export class AttachmentNotFound extends ProtocolError {
  readonly code = 'NOT_FOUND';
  constructor() {
    super('The task has no such attachment.');
  }
}

export class IdempotencyConflict extends ProtocolError {
  readonly code = 'IDEMPOTENCY_CONFLICT';
  constructor(what: string) {
    super(`This ${what} was used before with other content.`);
  }
}

export class InvalidCursor extends ProtocolError {
  readonly code = 'INVALID_CURSOR';
  constructor(message = 'The cursor must be a decimal event id of this task, "0" or empty for the start.') {
    super(message);
  }
}

/** The cursor of a feed from another epoch, or older than the marks of removed tasks. The client lists its tasks again. */
export class CursorExpired extends ProtocolError {
  readonly code = 'CURSOR_EXPIRED';
  constructor() {
    super('The changes after this cursor are not known any more. List the tasks again, and follow from a new cursor.');
  }
}

export class CursorAhead extends ProtocolError {
  readonly code = 'CURSOR_AHEAD';
  override readonly details: { readonly headEventId: string };
  constructor(headEventId: number) {
    super('The cursor is greater than the last stored event id of this task.');
    this.details = { headEventId: String(headEventId) };
  }
}

/** The caller does not hold the task: another attempt does, or the task is over. Nothing was stored. */
export class LeaseLost extends ProtocolError {
  readonly code = 'LEASE_LOST';
  constructor() {
    super('This lease is over; nothing was stored.');
  }
}

/** A batch before this one is missing. */
export class BatchOutOfOrder extends ProtocolError {
  readonly code = 'BATCH_OUT_OF_ORDER';
  override readonly details: { readonly expected: number };
  constructor(expected: number) {
    super('Batches are numbered 1, 2, 3… within a lease; one is missing.');
    this.details = { expected };
  }
}

export class EventInvalid extends ProtocolError {
  readonly code = 'REQUEST_VALIDATION_ERROR';
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

export class EventTooLarge extends ProtocolError {
  readonly code = 'PAYLOAD_TOO_LARGE';
  constructor(readonly maxBytes: number) {
    super(`An event payload may have at most ${maxBytes} bytes.`);
  }
}

/** Tasks of this type have no known executor. */
export class UnknownTaskType extends ProtocolError {
  readonly code = 'REQUEST_VALIDATION_ERROR';
  override readonly details: { readonly errors: readonly { readonly path: string; readonly message: string }[] };
  constructor(known: readonly string[]) {
    super('This taskType has no known executor.');
    const names = known.length > 0 ? known.join(', ') : 'none';
    this.details = { errors: [{ path: 'taskType', message: `it has no known executor; known types: ${names}` }] };
  }
}

/** A new task would be one more than the owner may have at a time. A repeat of an earlier request never gets this. */
export class TooManyOpenTasks extends ProtocolError {
  readonly code = 'TOO_MANY_REQUESTS';
  override readonly details: { readonly maxOpenTasks: number };
  /** Tasks end when they end; this keeps a client that waits for it from asking all the time. */
  override readonly retryAfterSeconds = 5;
  constructor(maxOpenTasks: number) {
    super(`This principal may have ${maxOpenTasks} tasks at a time that are not over.`);
    this.details = { maxOpenTasks };
  }
}

/** More work waits than this replica takes in. Nothing was stored. */
export class TooMuchWaiting extends ProtocolError {
  readonly code = 'SERVICE_UNAVAILABLE';
  override readonly retryAfterSeconds = 1;
  constructor() {
    super('Too much is waiting to be stored; try again.');
  }
}

export class SuspensionNotFound extends ProtocolError {
  readonly code = 'NOT_FOUND';
  constructor() {
    super('This task never asked under that suspendId.');
  }
}

export class TaskAlreadyTerminal extends ProtocolError {
  readonly code = 'TASK_ALREADY_TERMINAL';
  constructor() {
    super('The task is over.');
  }
}

/** The task is not over, so it cannot be run again. */
export class TaskNotTerminal extends ProtocolError {
  readonly code = 'TASK_NOT_TERMINAL';
  constructor() {
    super('The task is not over yet.');
  }
}

/** The stored state of the task does not allow a change. An operator has to repair it; nothing was stored. */
export class TaskAside extends ProtocolError {
  readonly code = 'TASK_ASIDE';
  constructor() {
    super('The task was set aside and waits for an operator; nothing was stored.');
  }
}

export class ActionNotAllowed extends ProtocolError {
  readonly code = 'ACTION_NOT_ALLOWED';
  override readonly details: { readonly allowedActions: readonly string[] };
  constructor(allowedActions: readonly string[]) {
    super('The question does not allow this action.');
    this.details = { allowedActions };
  }
}

/** The task has asked this before; its answer is in the lease. */
export class AlreadyAsked extends ProtocolError {
  readonly code = 'INVALID_TASK_STATE';
  constructor() {
    super('The task has asked under this suspendId before.');
  }
}
