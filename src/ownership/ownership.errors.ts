import { ProtocolError } from '../errors.js';

/** The policy does not let this principal create such a task. */
export class CreationForbidden extends ProtocolError {
  readonly code = 'TASK_OWNERSHIP_ERROR';
  constructor() {
    super('This principal may not create such a task.');
  }
}
